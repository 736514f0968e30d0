"""Sample the depth of the queue of urgent events too."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("samples", sa.Column("urgent_queue_depth", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("samples", "urgent_queue_depth")
