"""Live tails: what consumers settled lately, while somebody watches."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tail_lines",
        sa.Column("position", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="the consumer's clock"),
        sa.Column("stage", sa.Text, nullable=False, comment="outcome of the message"),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("type", sa.Text, comment="NULL if it cannot be read"),
        sa.Column("user_id", sa.Uuid),
        sa.Column("version", sa.BigInteger),
        sa.Column("event_id", sa.Uuid),
        sa.Column("recorded_at", sa.DateTime(timezone=True)),
        sa.Column(
            "left_out",
            sa.Integer,
            nullable=False,
            comment="messages before it that have no line",
        ),
        sa.PrimaryKeyConstraint("position", name="tail_lines_pkey"),
        comment="What consumers settled lately, while a live tail watches; ids and times only",
    )
    op.create_table(
        "tail_watch",
        sa.Column("singleton", sa.Boolean, server_default=sa.text("true")),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("singleton", name="tail_watch_pkey"),
        sa.CheckConstraint("singleton", name=op.f("tail_watch_singleton_check")),
        comment="Until when consumers note what they settle, because a live tail watches",
    )


def downgrade() -> None:
    op.drop_table("tail_watch")
    op.drop_table("tail_lines")
