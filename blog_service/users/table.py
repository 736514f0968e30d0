"""The replica's table. Only ``replica.table`` writes what is replicated.

Two columns are the blog's own and are not replicated: ``applied_at``, and ``sweep``, which
``erasure.due`` clears.

Only the id is unique: when two users swap their addresses, the events may arrive in either order.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from blog_service.db import metadata
from contracts.sync.digest_sql import bucket_sql

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False, comment="0 while provisional"),
    Column("email", Text),
    Column("email_verified", Boolean, nullable=False, server_default=text("false")),
    Column("roles", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("status", Text, nullable=False),
    Column("tokens_valid_after", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True)),
    Column("deleted_at", DateTime(timezone=True)),
    Column("applied_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "sweep", Text, comment="why the user's content must still be erased; NULL: nothing to erase"
    ),
    CheckConstraint("status IN ('active', 'disabled', 'deleted', 'provisional')", name="status"),
    CheckConstraint("(status = 'deleted') = (deleted_at IS NOT NULL)", name="deleted"),
    CheckConstraint("(status = 'provisional') = (version = 0)", name="provisional"),
    CheckConstraint(
        "status <> 'deleted' OR (email IS NULL AND roles = '{}' AND tokens_valid_after IS NULL"
        " AND created_at IS NULL AND updated_at IS NULL)",
        name="tombstone",
    ),
    CheckConstraint("sweep IN ('deleted', 'orphan')", name="sweep"),
    comment="Copy of the auth service's users; tombstones are permanent",
)

Index("users_bucket_idx", text(bucket_sql()), _table=users)
Index("users_sweep_idx", users.c.deleted_at, postgresql_where=text("sweep IS NOT NULL"))
