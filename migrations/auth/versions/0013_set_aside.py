"""Events that wait by themselves, and rows that another session holds."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "outbox_events",
        sa.Column(
            "set_aside",
            sa.SmallInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="1: no queue takes it, 2: an earlier one of its user is set aside; else 0",
        ),
    )
    op.create_table(
        "held_rows",
        sa.Column("position", sa.BigInteger, autoincrement=False, comment="0: row of source"),
        sa.Column("type", sa.Text, comment="of the event; NULL for the row of source"),
        sa.Column(
            "since",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.PrimaryKeyConstraint("position", name="held_rows_pkey"),
        comment="Rows that the relay could not change, for another session holds them",
    )


def downgrade() -> None:
    op.drop_table("held_rows")
    op.drop_column("outbox_events", "set_aside")
