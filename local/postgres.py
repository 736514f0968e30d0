"""The PostgreSQL server of this checkout: the one the environment names, else an embedded one.

Guarantees: a server that merely happens to listen on this machine is never touched.
"""

from local import environment
from local.embedded_postgres import EmbeddedPostgres
from local.postgres_server import PostgresServer


def embedded() -> EmbeddedPostgres:
    """The server of our own under `.local/`, running or not."""
    return EmbeddedPostgres(environment.EMBEDDED)


def find_postgres() -> PostgresServer:
    """A running server to make databases on: given, else embedded (started if need be).

    Raises:
        LocalError: the given one does not let us in, or the embedded one does not start.
    """
    for service in environment.SERVICES:
        url = environment.database_url(service)
        if url is not None:
            server = PostgresServer(url)
            server.execute("SELECT 1")
            return server
    return embedded().start()


def install_postgres() -> None:
    """Set up the embedded server's folder, unless the environment names both databases.

    Raises:
        LocalError: it cannot be set up.
    """
    if any(environment.database_url(service) is None for service in environment.SERVICES):
        embedded().install()
