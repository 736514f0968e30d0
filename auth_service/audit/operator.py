"""Who stands at the command line, as far as the machine knows."""

import getpass
import os

from auth_service.audit.model import operator_actor


def operator() -> str:
    """The actor of a command: the machine's name for its user, or his number where he has none.

    A word of the machine, no proof: who may run these commands holds the database's password.
    """
    try:
        return operator_actor(getpass.getuser())
    except (KeyError, OSError):  # a container's user need not have a name
        return operator_actor(str(os.getuid()))
