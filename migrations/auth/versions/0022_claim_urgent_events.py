"""An index by which the relay claims urgent events.

It is apart from the column's revision, whose lock keeps readers out, too.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX outbox_events_urgent_idx ON outbox_events"
        ' (coalesce(user_id::text, type) COLLATE "C", position)'
        " WHERE published_at IS NULL AND set_aside = 0 AND is_urgent"
    )


def downgrade() -> None:
    op.drop_index("outbox_events_urgent_idx", "outbox_events")
