"""The table of the audit log. ``record`` alone inserts; a trigger refuses every change of a row."""

from sqlalchemy import JSON, BigInteger, Column, DateTime, Identity, Index, Table, Text, func

from auth_service.db import metadata

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "occurred_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False, comment="user:…, operator:… or anonymous"),
    Column("subject", Text, comment="id of the user, service, key or session"),
    Column("request_id", Text),
    Column("details", JSON(none_as_null=True), comment="nothing personal, nothing secret"),
    comment="Append-only; ids only, so that erasing a user leaves nothing to erase here",
)

Index("audit_log_subject_idx", audit_log.c.subject, audit_log.c.id)
Index("audit_log_actor_idx", audit_log.c.actor, audit_log.c.id)
Index("audit_log_action_idx", audit_log.c.action, audit_log.c.id)
