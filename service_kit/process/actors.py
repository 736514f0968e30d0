"""The names of actors in audit logs and records."""

import getpass
import os
from uuid import UUID


def user_actor(user_id: UUID) -> str:
    """Return the actor name of a user."""
    return f"user:{user_id}"


def operator_actor(name: str) -> str:
    """Return the actor name of an operator with this user name at the command line."""
    return f"operator:{name}"


def operator() -> str:
    """Return the actor name of a command: the system user's name, or number if there is none.

    The name is not a proof: anyone who may run these commands has the database's password.
    """
    try:
        return operator_actor(getpass.getuser())
    except (KeyError, OSError):  # a container's user need not have a name
        return operator_actor(str(os.getuid()))
