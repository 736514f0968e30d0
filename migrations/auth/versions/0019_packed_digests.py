"""Keep each bucket's digest packed as well, for readers: PostgreSQL generates it from the lanes."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# allow adding-field-with-default: the digests are of 4,096 buckets at most, a few milliseconds


def upgrade() -> None:
    for kind in ("state", "versions"):
        first, second, third, fourth = (f"{kind}{number}" for number in (1, 2, 3, 4))
        packed = f"int8send(({first} << 32) | {second}) || int8send(({third} << 32) | {fourth})"
        op.add_column(
            "digests", sa.Column(kind, sa.LargeBinary, sa.Computed(packed, persisted=True))
        )


def downgrade() -> None:
    for kind in ("versions", "state"):
        op.drop_column("digests", kind)
