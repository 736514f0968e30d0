"""The errors that end a command with a sentence instead of a traceback."""


class OperatorError(Exception):
    """Something that an operator can mend; the message is one sentence and names the remedy."""
