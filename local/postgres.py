"""The PostgreSQL server of this checkout: from the environment, else embedded.

Guarantees: other servers on this machine are never used.
"""

from local import environment
from local.embedded_postgres import EmbeddedPostgres
from local.postgres_server import PostgresServer


def embedded() -> EmbeddedPostgres:
    """Return the embedded server under `.local/`, running or not."""
    return EmbeddedPostgres(environment.EMBEDDED)


def find_postgres() -> PostgresServer:
    """Return a running server for new databases: given, else embedded (started if needed).

    Raises:
        LocalError: the given one refuses, or the embedded one does not start.
    """
    return given_postgres() or embedded().start()


def given_postgres() -> PostgresServer | None:
    """Return the server that the environment names, or None.

    Raises:
        LocalError: it refuses.
    """
    for service in environment.SERVICES:
        url = environment.database_url(service)
        if url is not None:
            server = PostgresServer(url)
            server.execute("SELECT 1")
            return server
    return None


def install_postgres() -> None:
    """Initialise the embedded server's folder, unless the environment names both databases.

    Raises:
        LocalError: it cannot be set up.
    """
    if any(environment.database_url(service) is None for service in environment.SERVICES):
        embedded().install()
