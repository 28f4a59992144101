"""Errors that are the user's to mend."""


class UsageError(Exception):
    """Bad usage, configuration or data.

    The message is one line that says what is wrong, where, and the remedy. The command line prints it without a
    traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
