"""Indexes by which the relay finds events, also those that wait by themselves."""

import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently, drop_index_concurrently

revision = "0013b"
down_revision = "0013"
branch_labels = None
depends_on = None

# allow renaming-object: no statement names an index


def upgrade() -> None:
    create_index_concurrently(
        "outbox_events_returned_idx",
        "outbox_events",
        ["type", "position"],
        postgresql_where=sa.text("published_at IS NULL AND set_aside = 1"),
    )
    create_index_concurrently(
        "outbox_events_set_aside_idx",
        "outbox_events",
        ["user_id", "position"],
        postgresql_where=sa.text("published_at IS NULL AND set_aside > 0"),
    )
    # The relay has the old index until the new one is there.
    create_index_concurrently(
        "outbox_events_unpublished_new_idx",
        "outbox_events",
        ["set_aside", "position"],
        postgresql_where=sa.text("published_at IS NULL"),
    )
    drop_index_concurrently("outbox_events_unpublished_idx", "outbox_events")
    op.execute(
        "ALTER INDEX outbox_events_unpublished_new_idx RENAME TO outbox_events_unpublished_idx"
    )


def downgrade() -> None:
    op.drop_index("outbox_events_unpublished_idx", "outbox_events")
    op.drop_index("outbox_events_set_aside_idx", "outbox_events")
    op.drop_index("outbox_events_returned_idx", "outbox_events")
    op.create_index(
        "outbox_events_unpublished_idx",
        "outbox_events",
        ["position"],
        postgresql_where=sa.text("published_at IS NULL"),
    )
