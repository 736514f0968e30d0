"""Find users by how their address begins, whatever the database's collation is."""

import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

INDEX = "users_email_prefix_idx"


def upgrade() -> None:
    create_index_concurrently(INDEX, "users", [sa.text('email COLLATE "C"')])


def downgrade() -> None:
    op.drop_index(INDEX, "users")
