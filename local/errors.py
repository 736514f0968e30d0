"""The one error of this package.

Guarantees: its message is a whole sentence that a person at a terminal can act on.
"""


class LocalError(Exception):
    """Something here is missing, refused or too slow; the message says what, and the remedy."""
