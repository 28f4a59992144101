"""Errors that the command line tells in one line."""


class UsageError(Exception):
    """Bad usage, configuration or data.

    The message is one line that says what is wrong, where, and the remedy. The command line prints it without a
    traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class PhaseFailed(Exception):
    """A process of ours ended with an exit code other than 0.

    Args:
        phase: what it was to do.
        code: its exit code.
    """

    def __init__(self, phase: str, code: int) -> None:
        super().__init__(f"{phase} ended with exit code {code}")
        self.phase, self.code = phase, code
