"""Compare some users alone: a run says which."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "reconcile_runs",
        sa.Column(
            "users", postgresql.ARRAY(sa.Uuid), comment="those to compare; NULL: all of them"
        ),
    )


def downgrade() -> None:
    op.drop_column("reconcile_runs", "users")
