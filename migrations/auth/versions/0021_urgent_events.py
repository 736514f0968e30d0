"""Events that overtake others."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "outbox_events",
        sa.Column(
            "is_urgent",
            sa.Boolean,
            nullable=False,
            server_default=sa.text("false"),
            comment="whether it overtakes others",
        ),
    )


def downgrade() -> None:
    op.drop_column("outbox_events", "is_urgent")
