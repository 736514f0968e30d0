"""An index by which the relay claims the first unpublished event of each user."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX outbox_events_lanes_idx ON outbox_events"
        ' (coalesce(user_id::text, type) COLLATE "C", position)'
        " WHERE published_at IS NULL AND set_aside = 0"
    )


def downgrade() -> None:
    op.drop_index("outbox_events_lanes_idx", "outbox_events")
