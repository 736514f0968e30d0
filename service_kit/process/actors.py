"""Name the users and operators whose actions are recorded."""

import getpass
import os
from uuid import UUID


def user_actor(user_id: UUID) -> str:
    """Name a user as an actor."""
    return f"user:{user_id}"


def operator_actor(name: str) -> str:
    """Name an operator at the command line as an actor."""
    return f"operator:{name}"


def operator() -> str:
    """Name the actor of this command: the login name, or the user's number if there is none.

    Not a proof: anybody who may run the commands has the database's password.
    """
    try:
        return operator_actor(getpass.getuser())
    except (KeyError, OSError):  # a container's user may have no name
        return operator_actor(str(os.getuid()))
