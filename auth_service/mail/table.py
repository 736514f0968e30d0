"""Mails to be sent and links that were. Written by ``mail`` alone; no address is kept here."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from auth_service.db import metadata

mails = Table(
    "mails",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_try_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="To be sent to the address that the user has then; gone once sent or given up",
)

Index("mails_next_try_at_idx", mails.c.next_try_at)
Index("mails_user_id_idx", mails.c.user_id)

mail_links = Table(
    "mail_links",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    comment="Links that were sent and not yet opened",
)

Index("mail_links_user_id_idx", mail_links.c.user_id)
Index("mail_links_expires_at_idx", mail_links.c.expires_at)
