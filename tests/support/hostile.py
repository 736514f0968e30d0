"""Settings of roles and databases that would break a service that relied on defaults."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.engine import make_url

from local.postgres_server import PostgresServer
from service_kit.database.sessions import quoted

HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "search_path": "nowhere",
    "row_security": "off",
    "statement_timeout": "1",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "idle_session_timeout": "200",
    "transaction_timeout": "1",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "client_encoding": "LATIN1",
    "synchronous_commit": "off",
    "lc_messages": "C",
    "plan_cache_mode": "force_generic_plan",
    "log_parameter_max_length_on_error": "-1",
}
"""They apply at once, and none may change what the services do."""


SHORT = {
    "statement_timeout": "100ms",
    "idle_in_transaction_session_timeout": "100ms",
    "transaction_timeout": "200ms",
    "default_transaction_isolation": "serializable",
    "search_path": "nowhere",
    "synchronous_commit": "off",
    "intervalstyle": "sql_standard",
}
"""What an administrator may set in earnest. Through a pooler it applies until a transaction has
begun, which takes less than any of these times. ``idle_session_timeout`` is not among them:
pgbouncer drops a client to which it lends a session that has just been ended."""


@contextmanager
def set_on_role(
    server: PostgresServer, url: str, settings: Mapping[str, str] = HOSTILE
) -> Iterator[None]:
    """Apply settings to the role of ``url`` in its database, inside the block."""
    address = make_url(url)
    who = f"{quoted(address.username or '')} IN DATABASE {quoted(address.database or '')}"
    for name, value in settings.items():
        # A quoted list would become a single name.
        server.execute(f"ALTER ROLE {who} SET {name} = '{value}'")
    try:
        yield
    finally:
        server.execute(f"ALTER ROLE {who} RESET ALL")
