"""Index the words of posts, for searches."""

import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index_concurrently(
        "posts_words_idx",
        "posts",
        [sa.text("to_tsvector('english'::regconfig, (title || ' '::text) || body)")],
        postgresql_using="gin",
        postgresql_where=sa.text("title IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("posts_words_idx", "posts")
