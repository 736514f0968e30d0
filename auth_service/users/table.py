"""The tables of users, the source of truth for every replica. Written by ``users`` alone.

A deleted user's row stays as their tombstone: id, version and time of deletion, nothing personal.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Row,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)

from auth_service.clock import VERSION_NOW, next_version, valid_from_now
from auth_service.db import metadata
from auth_service.users.model import User
from contracts.events import VERSION_MAX
from contracts.sync.digest_sql import bucket_sql
from service_kit.database.alone import RowLike

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("version", BigInteger, nullable=False),
    Column("email", Text, unique=True),
    Column("email_verified", Boolean, nullable=False, server_default=text("false")),
    Column("password_hash", Text),
    Column("roles", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("tokens_valid_after", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("deleted_at", DateTime(timezone=True)),
    Column("pending_email", Text),
    Column("pending_email_until", DateTime(timezone=True)),
    CheckConstraint("status IN ('active', 'disabled', 'deleted')", name="status"),
    CheckConstraint("version BETWEEN 1 AND 9007199254740991", name="version"),
    CheckConstraint("length(email) <= 320", name="email_length"),
    CheckConstraint(
        "CASE WHEN status = 'deleted'"
        " THEN deleted_at IS NOT NULL AND email IS NULL AND password_hash IS NULL AND roles = '{}'"
        " ELSE deleted_at IS NULL AND email IS NOT NULL AND password_hash IS NOT NULL END",
        name="tombstone",
    ),
    CheckConstraint(
        "(pending_email IS NULL) = (pending_email_until IS NULL)"
        " AND length(pending_email) <= 320"
        " AND (pending_email IS NULL OR status <> 'deleted')",
        name="pending_email",
    ),
    comment="Source of truth; a deleted user stays as a tombstone without personal data",
)

Index("users_bucket_idx", text(bucket_sql()), _table=users)
# Administrators find users by how an address begins. Its collation is "C", which Alembic does not
# compare: in others, addresses that begin alike may be apart.
Index("users_email_prefix_idx", users.c.email)
Index(
    "users_pending_email_until_idx",
    users.c.pending_email_until,
    postgresql_where=users.c.pending_email_until.is_not(None),
)

former_emails = Table(
    "former_emails",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("email", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    UniqueConstraint("user_id", "email"),
    comment="Verified addresses whose holders can undo a change, as long as they can",
)

Index("former_emails_email_idx", former_emails.c.email)
Index("former_emails_until_idx", former_emails.c.until)

FIRST_VERSION: ColumnElement[int] = VERSION_NOW
"""The version of a new user."""

NEXT_VERSION: ColumnElement[int] = next_version(users.c.version)
"""The version of a change."""

LAST_VERSION: ColumnElement[int] = func.least(NEXT_VERSION, VERSION_MAX)
"""The version of a deletion. The highest version does not prevent one: a tombstone supersedes a
live state of the same version."""

TOKENS_VALID_FROM_NOW: ColumnElement[datetime] = valid_from_now(users.c.tokens_valid_after)
"""The next whole second, from which access tokens are valid."""

NO_PENDING_EMAIL: Final[dict[str, Any]] = {"pending_email": None, "pending_email_until": None}
"""The columns of a user without a pending address."""


def to_user(row: Row[Any] | RowLike) -> User:
    """The living user in ``row``, which has all columns of the table."""
    column = row._mapping if isinstance(row, Row) else row  # noqa: SLF001 - a public name
    return User(
        id=column["id"],
        version=column["version"],
        email=column["email"],
        email_verified=column["email_verified"],
        roles=tuple(column["roles"]),
        status=column["status"],
        tokens_valid_after=column["tokens_valid_after"],
        created_at=column["created_at"],
        updated_at=column["updated_at"],
        pending_email=column["pending_email"],
    )
