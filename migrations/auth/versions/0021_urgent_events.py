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
    op.execute(
        "CREATE INDEX outbox_events_urgent_idx ON outbox_events"
        ' (coalesce(user_id::text, type) COLLATE "C", position)'
        " WHERE published_at IS NULL AND set_aside = 0 AND is_urgent"
    )


def downgrade() -> None:
    op.drop_index("outbox_events_urgent_idx", "outbox_events")
    op.drop_column("outbox_events", "is_urgent")
