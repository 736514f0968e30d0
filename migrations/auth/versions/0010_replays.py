"""Replays as jobs, and how far the log was pruned."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.concurrently import create_index_concurrently

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Times rise with positions, or nearly: a few pages tell where a time begins.
    create_index_concurrently(
        "outbox_events_occurred_at_idx", "outbox_events", ["occurred_at"], postgresql_using="brin"
    )
    op.create_table(
        "replays",
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid()),
        sa.Column("consumer", sa.Text, nullable=False, comment="routing key of the replay queue"),
        sa.Column(
            "of", sa.Text, nullable=False, comment="log: recorded events; state: users as they are"
        ),
        sa.Column("since", sa.DateTime(timezone=True)),
        sa.Column("until", sa.DateTime(timezone=True)),
        sa.Column("from_position", sa.BigInteger),
        sa.Column("user_ids", postgresql.ARRAY(sa.Uuid)),
        sa.Column("types", postgresql.ARRAY(sa.Text)),
        sa.Column("rate", sa.Integer, nullable=False, comment="events a second, at most"),
        sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'running'")),
        sa.Column("requested_by", sa.Text, nullable=False, comment="user:…, operator:…, svc_…"),
        sa.Column("last_position", sa.BigInteger, comment="log: the last event, as of asking"),
        sa.Column(
            "done_position",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="log: up to here all is confirmed",
        ),
        sa.Column("done_user_id", sa.Uuid, comment="state: up to here all is confirmed"),
        sa.Column("expected", sa.BigInteger, nullable=False, comment="events, as counted before"),
        sa.Column("published", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("trouble", sa.Text, comment="why it does not get on; NULL while it does"),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("updated_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="replays_pkey"),
        sa.CheckConstraint("of IN ('log', 'state')", name=op.f("replays_of_check")),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'cancelled', 'done')", name=op.f("replays_state_check")
        ),
        sa.CheckConstraint("rate > 0", name=op.f("replays_rate_check")),
        comment="Replays to one consumer, and how far each has come",
    )
    op.create_index(
        "replays_unfinished_idx",
        "replays",
        ["created_at"],
        postgresql_where=sa.text("state IN ('running', 'paused')"),
    )
    op.add_column(
        "source",
        sa.Column(
            "pruned_position",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="events up to here may be gone from the log",
        ),
    )


def downgrade() -> None:
    op.drop_column("source", "pruned_position")
    op.drop_index("outbox_events_occurred_at_idx", "outbox_events")
    op.drop_table("replays")
