"""Revoked signing keys."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revoked_keys",
        sa.Column("kid", sa.Text),
        sa.Column(
            "revoked_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the source's clock",
        ),
        sa.PrimaryKeyConstraint("kid", name="revoked_keys_pkey"),
        comment="Signing keys whose tokens are refused, whatever key set is at hand",
    )


def downgrade() -> None:
    op.drop_table("revoked_keys")
