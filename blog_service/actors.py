"""How those are named who ask for something that is written down."""

import getpass
import os
from uuid import UUID


def user_actor(user_id: UUID) -> str:
    """The actor that is a user."""
    return f"user:{user_id}"


def operator() -> str:
    """The actor of a command: the machine's name for its user, or his number where he has none.

    A word of the machine, no proof: who may run these commands holds the database's password.
    """
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user need not have a name
        return f"operator:{os.getuid()}"
