"""The tables of service accounts and API keys. Written by ``services`` alone; no key is stored."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Row,
    Table,
    Text,
    func,
    text,
)

from auth_service.db import metadata
from auth_service.services.model import KeyRecord, ServiceAccount

service_accounts = Table(
    "service_accounts",
    metadata,
    Column("id", Text, primary_key=True, comment="svc_…, made here"),
    Column("name", Text, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("tokens_valid_after", DateTime(timezone=True)),
    # 'deleted' is for the event of a deletion, which deletes the row in the same transaction.
    CheckConstraint("status IN ('active', 'disabled', 'deleted')", name="status"),
    comment="Back-ends that get tokens of their own",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column(
        "service_id", Text, ForeignKey("service_accounts.id", ondelete="CASCADE"), nullable=False
    ),
    Column("secret_mac", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("last_used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    comment="Hashes, keyed with a secret that is not in this database",
)

Index("api_keys_service_id_idx", api_keys.c.service_id)


def to_service(row: Row[Any]) -> ServiceAccount:
    """The account in ``row``, which has all columns of ``service_accounts``."""
    return ServiceAccount(
        id=row.id,
        name=row.name,
        scopes=tuple(row.scopes),
        status=row.status,
        created_at=row.created_at,
    )


def to_key(row: Row[Any]) -> KeyRecord:
    """The key in ``row``, which has all columns of ``api_keys``."""
    return KeyRecord(
        key_id=row.key_id,
        service_id=row.service_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
