"""The table of signing keys. Written by ``tokens`` alone."""

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    LargeBinary,
    Table,
    Text,
    func,
)

from auth_service.db import metadata

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("public_jwk", JSON, nullable=False),
    Column("sealed_private_key", LargeBinary, comment="NULL: the key is that of AUTH_PRIVATE_KEY"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("activated_at", DateTime(timezone=True)),
    Column("retired_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('pending', 'active', 'retired', 'revoked')", name="state"),
    comment="A row stays after its key has gone, so that no key comes back",
)

Index(
    "signing_keys_active_idx",
    signing_keys.c.state,
    unique=True,
    postgresql_where=signing_keys.c.state == "active",
)
