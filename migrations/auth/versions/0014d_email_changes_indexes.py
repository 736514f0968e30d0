"""Check the rows that were there before pending and former addresses, and index these."""

import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently, validate

revision = "0014d"
down_revision = "0014c"
branch_labels = None
depends_on = None


def upgrade() -> None:
    validate("users", "users_pending_email_check")
    create_index_concurrently(
        "users_pending_email_until_idx",
        "users",
        ["pending_email_until"],
        postgresql_where=sa.text("pending_email_until IS NOT NULL"),
    )
    for table in ("mails", "mail_links"):
        validate(table, f"{table}_former_email_id_fkey")
        create_index_concurrently(
            f"{table}_former_email_id_idx",
            table,
            ["former_email_id"],
            postgresql_where=sa.text("former_email_id IS NOT NULL"),
        )


def downgrade() -> None:
    for table in ("mail_links", "mails"):
        op.drop_index(f"{table}_former_email_id_idx", table)
    op.drop_index("users_pending_email_until_idx", "users")
