"""What verifiers are told of service accounts: version, status, and from when tokens count."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "service_accounts",
        sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    )
    op.add_column(
        "service_accounts",
        sa.Column("status", sa.Text, nullable=False, server_default=sa.text("'active'")),
    )
    op.add_column("service_accounts", sa.Column("tokens_valid_after", sa.DateTime(timezone=True)))
    op.create_check_constraint(
        op.f("service_accounts_status_check"),
        "service_accounts",
        "status IN ('active', 'disabled', 'deleted')",
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    op.drop_constraint(op.f("service_accounts_status_check"), "service_accounts", type_="check")
    op.drop_column("service_accounts", "tokens_valid_after")
    op.drop_column("service_accounts", "status")
    op.drop_column("service_accounts", "version")
