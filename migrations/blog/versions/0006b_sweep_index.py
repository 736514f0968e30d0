"""Check the users that were there before sweeps, and index those whose content is to be erased."""

import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently, validate

revision = "0006b"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    validate("users", "users_sweep_check")
    create_index_concurrently(
        "users_sweep_idx", "users", ["deleted_at"], postgresql_where=sa.text("sweep IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("users_sweep_idx", "users")
