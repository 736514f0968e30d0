"""Sessions: one for each sign-in. Written by ``sessions`` alone.

No token is stored: a refresh token is computed from its session's id and counter.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from auth_service.db import metadata

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("counter", Integer, nullable=False, server_default=text("0")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("refreshed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
    Column("end_reason", Text),
    Column("user_agent", Text, comment="shown to the user to identify the device"),
    Column(
        "authenticated_at",
        DateTime(timezone=True),
        comment="when the password was last confirmed; NULL: at sign-in only",
    ),
    CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="ended"),
    CheckConstraint("length(user_agent) <= 256", name="user_agent_length"),
    comment="One row a sign-in, and its family of refresh tokens",
)

Index("sessions_user_id_idx", sessions.c.user_id, sessions.c.refreshed_at)
