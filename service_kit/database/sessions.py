"""Settings of every session, which override those of a role or a database. Pure.

A setting is here because code relies on it; an administrator may have other defaults for manual
sessions. What only costs speed (``work_mem``, planner settings) is left
to the administrator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from service_kit.process.errors import OperatorError

FIXED: Final = {
    # Row locks and "ON CONFLICT" are written for it; serializable would fail under load.
    "default_transaction_isolation": "read committed",
    # Tables are ours, and no policy may hide rows from a comparison.
    "row_security": "on",
    # How values look wherever they are read or written as text: COPY, JSON, casts.
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    # How statements are read.
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    # A failed statement's values may be an e-mail address; the server's log outlives an erasure.
    "log_parameter_max_length_on_error": "0",
    # The pool holds idle sessions. What else ends them is noticed when one is taken.
    "idle_session_timeout": "0",
}
"""Settings of every session as startup parameters, which override those of a role or database."""

ENCODING: Final = "UTF8"

WRITABLE_CHECK_SECONDS: Final = 1.0
"""How long a read-only session is used before a new one shows whether the database still is. Long
enough that a database which stays read-only is not flooded with new connections."""

SERVER_GONE: Final = frozenset(
    {
        "25006",  # read-only: a standby, or a primary that became one
        "57P01",  # administrator shut it down, or ended the session
        "57P02",  # another process crashed
        "57P03",  # starting up, or shutting down
    }
)
"""SQLSTATEs after which every older session is useless."""

SESSION_GONE: Final = frozenset(
    {
        "25P03",  # idle in a transaction for too long
        "25P04",  # the transaction took too long
        "57P04",  # the database was dropped
        "57P05",  # idle for too long
    }
)
"""SQLSTATEs after which this one session is over."""

CONNECTION_EXCEPTION: Final = "08"
"""The SQLSTATE class of a connection that broke."""

SINCE_17: Final = {"transaction_timeout": "0"}
"""Further settings that older servers do not know; they refuse a session with them."""

AT_LEAST_ON: Final = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)
"""The first SQL of a durable session. It raises only settings below ``on``; a startup parameter
cannot say "at least"."""

NO_WAIT: Final = "set_config('synchronous_commit', 'off', true)"
"""SQL for a transaction whose loss in a crash is not worth waiting for the disk; the setting ends
with it."""


class UnsuitableDatabase(OperatorError):
    """The database cannot hold what the services store."""


@dataclass(frozen=True, slots=True)
class Session:
    """The settings of one kind of session.

    Parameters:
        application_name: the name of the session in ``pg_stat_activity``.
        schema: where the tables are.
        statement_ms: the longest statement, in milliseconds; 0 is without limit.
        lock_ms: the longest wait for a lock, likewise.
        idle_in_transaction_ms: how long a transaction may do nothing, likewise.
        others: more startup parameters, which also override the common ones.
        is_durable: whether a commit is on disk before it is reported, since an acknowledgement or a
            response follows it.
        is_own: whether it has to be a session of PostgreSQL itself, not one that a pooler lends for
            a transaction: for locks, temporary tables and notifications.
    """

    application_name: str
    schema: str
    statement_ms: int
    lock_ms: int
    idle_in_transaction_ms: int
    others: Mapping[str, str] = field(default_factory=dict)
    is_durable: bool = True
    is_own: bool = False

    def startup(self) -> dict[str, str]:
        """The parameters that the session starts with."""
        return {
            **FIXED,
            "application_name": self.application_name,
            # Names are looked up where the migrations put the tables, and nowhere before.
            "search_path": f"{quoted(self.schema)}, pg_temp",
            "statement_timeout": str(self.statement_ms),
            "lock_timeout": str(self.lock_ms),
            "idle_in_transaction_session_timeout": str(self.idle_in_transaction_ms),
            **({} if self.is_durable else {"synchronous_commit": "off"}),
            **self.others,
        }


def quoted(name: str) -> str:
    """An SQL identifier, quoted."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def require_suitable(*, server_encoding: str, database: str, owner: str) -> None:
    """Refuse a database that cannot store every text, or counts characters differently.

    Raises:
        UnsuitableDatabase: the message has the command that creates a suitable one.
    """
    if server_encoding.upper().replace("-", "") != ENCODING:
        command = (
            f"CREATE DATABASE {quoted(f'{database}_utf8')} OWNER {quoted(owner)}"
            f" ENCODING '{ENCODING}' LOCALE 'C' TEMPLATE template0"
        )
        raise UnsuitableDatabase(
            f"the database {database} has the encoding {server_encoding}, and only {ENCODING}"
            f" is supported: create another one with {command}; run the migrations in it and"
            " set its address"
        )


NEEDS_OWN_SESSION: Final = (
    "…_DATABASE_URL leads to a pooler such as pgbouncer, and this needs sessions of its own, for"
    " locks and notifications: give PostgreSQL's own address in …_DATABASE_DIRECT_URL"
)


def is_server_gone(sqlstate: str) -> bool:
    """Whether an error says that the server is no primary, or is going down."""
    return sqlstate in SERVER_GONE


def is_session_gone(sqlstate: str) -> bool:
    """Whether no further statement of the session can succeed after an error."""
    return sqlstate in SERVER_GONE | SESSION_GONE or sqlstate[:2] == CONNECTION_EXCEPTION


def is_spent(*, is_read_only: bool, age_seconds: float) -> bool:
    """Whether a pooled session has been read-only for so long that a new one should be tried."""
    return is_read_only and age_seconds >= WRITABLE_CHECK_SECONDS
