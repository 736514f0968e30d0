"""What a service of one's own needs of this machine's servers: an account and a database.

For docs/add-a-service.md. Guarantees: idempotent; the account may consume events, and nothing else;
the next `make up` leaves both as they are.
"""

import shlex

from sqlalchemy.engine import make_url

from contracts.events.accounts import consumer
from local.broker_accounts import add_consumer, ensure_accounts
from local.errors import LocalError
from local.postgres import find_postgres
from local.rabbitmq import find_broker


def exports(name: str) -> str:
    """Create both for the service `name`; return its settings as shell exports.

    Raises:
        LocalError: the name is unsuitable, or a server refuses.
    """
    if not name.isidentifier() or not name.islower():
        raise LocalError(f"{name} is no name for a service; use small letters and underscores.")
    add_consumer(name)
    account = ensure_accounts(find_broker())[consumer(name)]
    server = find_postgres()
    server.create_role(name)
    server.create_database(name, owner=name)
    # psql knows no drivers.
    database = make_url(server.url(name, role=name)).set(drivername="postgresql")
    found = {
        "DATABASE_URL": database.render_as_string(hide_password=False),
        "AMQP_URL": account,
    }
    return "\n".join(
        f"export {name.upper()}_{key}={shlex.quote(value)}" for key, value in found.items()
    )
