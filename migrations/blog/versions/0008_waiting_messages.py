"""Messages that wait by themselves: for a lock that somebody holds, or for a second judgement."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = {"server_default": sa.func.clock_timestamp()}
    op.create_table(
        "waiting_messages",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("message_hash", sa.LargeBinary, nullable=False),
        sa.Column("key", sa.Text, nullable=False, comment="messages of one key are tried in order"),
        sa.Column("user_id", sa.Uuid, comment="NULL when no user is legible"),
        sa.Column("version", sa.BigInteger, comment="of the user's state; NULL without one"),
        sa.Column("deletes", sa.Boolean, nullable=False, comment="whether it is a tombstone"),
        sa.Column("reason", sa.Text, nullable=False, comment="stable code"),
        sa.Column("exchange", sa.Text, nullable=False),
        sa.Column("routing_key", sa.Text, nullable=False),
        sa.Column(
            "properties",
            sa.JSON,
            nullable=False,
            comment="AMQP properties and headers, as received",
        ),
        sa.Column("body", sa.LargeBinary, comment="as received; NULL once its user is deleted"),
        sa.Column(
            "attempts",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="tries that no process has reported back from",
        ),
        sa.Column("set_aside_at", sa.DateTime(timezone=True), nullable=False, **now),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False, **now),
        sa.UniqueConstraint("message_hash", name=op.f("waiting_messages_message_hash_key")),
        comment="Messages that wait by themselves, tried again every few seconds",
    )
    op.create_index("waiting_messages_key_idx", "waiting_messages", ["key", "id"])
    op.create_index("waiting_messages_user_id_idx", "waiting_messages", ["user_id"])
    op.add_column(
        "parked_messages",
        sa.Column(
            "dropped_bytes",
            sa.BigInteger,
            comment="size of a body that was too large to keep; NULL: it was kept",
        ),
    )


def downgrade() -> None:
    op.drop_column("parked_messages", "dropped_bytes")
    op.drop_table("waiting_messages")
