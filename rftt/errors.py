"""Errors that the command line tells in one line."""

LONGEST = 2000  # characters of a message; a value of megabytes is shown by its ends


def one_line(message: str) -> str:
    """The message in one line that a terminal can show."""
    text = message if len(message) <= LONGEST else f"{message[: LONGEST - 300]} … {message[-300:]}"
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


class UsageError(Exception):
    """Bad usage, configuration or data.

    The message is one line that says what is wrong, where, and the remedy. The command line prints it without a
    traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class PhaseFailed(Exception):
    """A process of ours ended with an exit code other than 0.

    Args:
        phase: work that the process was to do.
        code: exit code of the process.
    """

    def __init__(self, phase: str, code: int) -> None:
        super().__init__(f"{phase} ended with exit code {code}")
        self.phase, self.code = phase, code


class TrainingFailed(Exception):
    """A training came to nothing, e.g. with a loss that is not finite.

    The message is one line; the command line prints it without a traceback and exits with code 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))
