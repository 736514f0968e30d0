"""The log of events, and who this source is."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox_events",
        sa.Column("position", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("event_id", sa.Uuid, nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("user_id", sa.Uuid, comment="NULL for a heartbeat"),
        sa.Column("version", sa.BigInteger),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.clock_timestamp(),
        ),
        sa.Column("payload", sa.JSON, comment="NULL once erased with its user"),
        sa.Column("traceparent", sa.Text),
        sa.Column(
            "published_at", sa.DateTime(timezone=True), comment="NULL until the broker confirmed"
        ),
        sa.PrimaryKeyConstraint("position", name="outbox_events_pkey"),
        sa.CheckConstraint(
            "(user_id IS NULL) = (version IS NULL)", name=op.f("outbox_events_user_version_check")
        ),
        comment="Log of events in the order of recording",
        postgresql_with={
            "autovacuum_vacuum_scale_factor": "0.01",
            "autovacuum_vacuum_insert_scale_factor": "0.05",
            "autovacuum_analyze_scale_factor": "0.05",
        },
    )
    op.create_index(
        "outbox_events_unpublished_idx",
        "outbox_events",
        ["position"],
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_index("outbox_events_user_id_idx", "outbox_events", ["user_id", "position"])
    op.create_table(
        "source",
        sa.Column("singleton", sa.Boolean, server_default=sa.text("true")),
        sa.Column("identity", sa.Uuid, nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("heartbeat", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True)),
        sa.Column("trouble", sa.Text, comment="why the relay cannot publish; NULL while it can"),
        sa.Column("trouble_since", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("singleton", name="source_pkey"),
        sa.CheckConstraint("singleton", name=op.f("source_singleton_check")),
        comment="This source: who it is, its last heartbeat, and the relay's trouble",
    )
    op.execute("INSERT INTO source DEFAULT VALUES")


def downgrade() -> None:
    op.drop_table("source")
    op.drop_table("outbox_events")
