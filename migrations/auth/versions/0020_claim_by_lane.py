"""An index by which the relay claims the first unpublished event of each user."""

import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index_concurrently(
        "outbox_events_lanes_idx",
        "outbox_events",
        [sa.text('coalesce(user_id::text, type) COLLATE "C"'), "position"],
        postgresql_where=sa.text("published_at IS NULL AND set_aside = 0"),
    )


def downgrade() -> None:
    op.drop_index("outbox_events_lanes_idx", "outbox_events")
