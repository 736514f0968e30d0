"""The only error of this package.

Guarantees: its message is a sentence that tells a person at a terminal what to do.
"""


class LocalError(Exception):
    """A resource is missing, refused or too slow; the message says which, and the remedy."""
