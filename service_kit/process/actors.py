"""How those are named who do something that is written down."""

import getpass
import os
from uuid import UUID


def user_actor(user_id: UUID) -> str:
    """The actor that is a user."""
    return f"user:{user_id}"


def operator_actor(name: str) -> str:
    """The actor that is somebody at the command line, by the machine's name for him."""
    return f"operator:{name}"


def operator() -> str:
    """The actor of a command: the machine's name for its user, or his number where he has none.

    A word of the machine, no proof: who may run these commands holds the database's password.
    """
    try:
        return operator_actor(getpass.getuser())
    except (KeyError, OSError):  # a container's user need not have a name
        return operator_actor(str(os.getuid()))
