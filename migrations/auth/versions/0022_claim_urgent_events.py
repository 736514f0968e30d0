"""An index by which the relay claims urgent events.

It is apart from the column's revision, whose lock keeps readers out, too.
"""

import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index_concurrently(
        "outbox_events_urgent_idx",
        "outbox_events",
        [sa.text('coalesce(user_id::text, type) COLLATE "C"'), "position"],
        postgresql_where=sa.text("published_at IS NULL AND set_aside = 0 AND is_urgent"),
    )


def downgrade() -> None:
    op.drop_index("outbox_events_urgent_idx", "outbox_events")
