"""What relays see of the queues of consuming services."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queues",
        sa.Column("name", sa.Text),
        sa.Column(
            "messages", sa.BigInteger, comment="ready ones; NULL while no queue or broker is there"
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.clock_timestamp(),
        ),
        sa.PrimaryKeyConstraint("name", name="queues_pkey"),
        comment="Queues of consuming services, as a relay last saw them",
    )


def downgrade() -> None:
    op.drop_table("queues")
