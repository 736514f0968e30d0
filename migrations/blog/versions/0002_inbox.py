"""The inbox: parked messages, attempts, heartbeats."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "parked_messages",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("message_hash", sa.LargeBinary, nullable=False),
        sa.Column("user_id", sa.Uuid, comment="NULL when no user is legible; expires then"),
        sa.Column("reason", sa.Text, nullable=False, comment="stable code"),
        sa.Column("error", sa.Text, nullable=False, comment="for people; quotes no data"),
        sa.Column("exchange", sa.Text, nullable=False),
        sa.Column("routing_key", sa.Text, nullable=False),
        sa.Column(
            "properties",
            sa.JSON,
            nullable=False,
            comment="AMQP properties and headers, as they came",
        ),
        sa.Column("body", sa.LargeBinary, comment="as it came; NULL once its user is deleted"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column(
            "first_failed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.Column(
            "last_failed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.PrimaryKeyConstraint("id", name="parked_messages_pkey"),
        sa.UniqueConstraint("message_hash", name="parked_messages_message_hash_key"),
        comment="Messages that could not be read or applied, to be redriven or discarded",
    )
    op.create_index("parked_messages_user_id_idx", "parked_messages", ["user_id"])
    op.create_table(
        "attempts",
        sa.Column("message_hash", sa.LargeBinary),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("process", sa.Uuid, nullable=False, comment="the process that tried last"),
        sa.Column(
            "last_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.PrimaryKeyConstraint("message_hash", name="attempts_pkey"),
        comment="Processes that tried a redelivered message, counted before, cleared on success",
    )
    op.create_table(
        "heartbeats",
        sa.Column("source", sa.Text),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the source's clock",
        ),
        sa.Column(
            "applied_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.PrimaryKeyConstraint("source", name="heartbeats_pkey"),
        comment="The last heartbeat of each source",
    )


def downgrade() -> None:
    op.drop_table("heartbeats")
    op.drop_table("attempts")
    op.drop_table("parked_messages")
