"""For who watches: samples of the pipe, and how far a comparison has come."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "samples",
        sa.Column(
            "taken_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.clock_timestamp(),
        ),
        sa.Column("process", sa.Uuid, nullable=False, comment="whose: each consumer takes its own"),
        sa.Column("state", sa.Text, nullable=False, comment="what the consumer was at"),
        sa.Column(
            "latency_seconds", sa.Double, comment="the worst since its last sample; NULL: none"
        ),
        sa.Column("applied", sa.Integer, nullable=False, comment="messages since its last sample"),
        sa.Column("queue_depth", sa.BigInteger, comment="NULL: the broker did not answer"),
        sa.Column("replay_queue_depth", sa.BigInteger),
        sa.Column("dead_queue_depth", sa.BigInteger),
        sa.PrimaryKeyConstraint("taken_at", "process", name="samples_pkey"),
        sa.CheckConstraint(
            "state IN ('consuming', 'waiting', 'stopped')", name=op.f("samples_state_check")
        ),
        comment="How the pipe did, for a day; a gap is a time when no consumer was alive",
    )
    op.add_column(
        "reconcile_runs", sa.Column("phase", sa.Text, comment="what it is at, while it runs")
    )
    op.add_column(
        "reconcile_runs", sa.Column("done", sa.BigInteger, comment="users, of this phase")
    )
    op.add_column(
        "reconcile_runs",
        sa.Column("total", sa.BigInteger, comment="users, about; NULL: nobody knows"),
    )


def downgrade() -> None:
    for column in ("total", "done", "phase"):
        op.drop_column("reconcile_runs", column)
    op.drop_table("samples")
