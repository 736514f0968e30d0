"""Check the states of the service accounts that are there."""

from migrations.concurrently import validate

revision = "0011b"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    validate("service_accounts", "service_accounts_status_check")


def downgrade() -> None:
    pass
