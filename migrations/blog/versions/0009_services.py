"""Service accounts whose access tokens of before are refused."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "services",
        sa.Column("client_id", sa.Text),
        sa.Column("version", sa.BigInteger, nullable=False, comment="the source's"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column(
            "tokens_valid_after",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="access tokens issued before are refused",
        ),
        sa.PrimaryKeyConstraint("client_id", name="services_pkey"),
        sa.CheckConstraint(
            "status IN ('active', 'disabled', 'deleted')", name=op.f("services_status_check")
        ),
        comment="Service accounts whose access tokens of before are refused",
    )


def downgrade() -> None:
    op.drop_table("services")
