"""What each process of the blog may do in its database. Pure.

The migrations give these rights (``service_kit.database.rights``); ARCHITECTURE's table names the
modules behind them.
"""

from typing import Final

from replica import rights as of_a_replica
from replica.rights import API, CONSUMER
from service_kit.database.rights import ALL, CHANGE, REMOVE, WRITE, Rights

RIGHTS: Final = Rights(
    {
        **of_a_replica.TABLES,
        "users": of_a_replica.USERS,
        # The consumer erases. Its locks on rows take a right to change.
        "posts": {API: ALL, CONSUMER: f"{CHANGE}, DELETE"},
        "comments": {API: ALL, CONSUMER: f"{REMOVE}, UPDATE (id)"},
        "profiles": {API: WRITE, CONSUMER: REMOVE},
    },
    temporary=of_a_replica.TEMPORARY,
)
