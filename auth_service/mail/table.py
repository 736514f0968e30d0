"""Queued mails, and links that were sent. Written by ``mail`` alone; no address is stored here."""

from sqlalchemy import (
    ARRAY,
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
    Column("former_email_id", BigInteger, ForeignKey("former_emails.id", ondelete="CASCADE")),
    Column(
        "networks",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="keyed hashes of the networks whose request asked for it",
    ),
    Column("charged_to", LargeBinary, comment="keyed hash of the address that has paid for it"),
    comment="To be sent to the address that the user has then; gone once sent or given up",
)

Index("mails_next_try_at_idx", mails.c.next_try_at)
Index("mails_user_id_idx", mails.c.user_id)
Index(
    "mails_former_email_id_idx",
    mails.c.former_email_id,
    postgresql_where=mails.c.former_email_id.is_not(None),
)

mail_links = Table(
    "mail_links",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("former_email_id", BigInteger, ForeignKey("former_emails.id", ondelete="CASCADE")),
    comment="Links that were sent and not yet opened",
)

Index("mail_links_user_id_idx", mail_links.c.user_id)
Index("mail_links_expires_at_idx", mail_links.c.expires_at)
Index(
    "mail_links_former_email_id_idx",
    mail_links.c.former_email_id,
    postgresql_where=mail_links.c.former_email_id.is_not(None),
)
