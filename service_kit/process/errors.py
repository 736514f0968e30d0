"""Errors that end a command with a sentence instead of a traceback."""


class OperatorError(Exception):
    """An error that an operator can fix; the message is one sentence and names the remedy."""


class BadSettings(OperatorError):
    """The settings do not allow a start; the message has a line for each."""
