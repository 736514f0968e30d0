"""An index by which administrators find entries of the audit log by their action."""

from alembic import op

from migrations.concurrently import create_index_concurrently

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index_concurrently("audit_log_action_idx", "audit_log", ["action", "id"])


def downgrade() -> None:
    op.drop_index("audit_log_action_idx", "audit_log")
