"""Addresses that are pending or can still be restored."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("pending_email", sa.Text))
    op.add_column("users", sa.Column("pending_email_until", sa.DateTime(timezone=True)))
    op.create_check_constraint(
        op.f("users_pending_email_check"),
        "users",
        "(pending_email IS NULL) = (pending_email_until IS NULL)"
        " AND length(pending_email) <= 320"
        " AND (pending_email IS NULL OR status <> 'deleted')",
        postgresql_not_valid=True,
    )
    op.create_table(
        "former_emails",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="former_emails_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="former_emails_user_id_fkey"),
        sa.UniqueConstraint("user_id", "email", name="former_emails_user_id_key"),
        comment="Verified addresses whose holders can undo a change, as long as they can",
    )
    op.create_index("former_emails_email_idx", "former_emails", ["email"])
    op.create_index("former_emails_until_idx", "former_emails", ["until"])


def downgrade() -> None:
    op.drop_table("former_emails")
    op.drop_constraint(op.f("users_pending_email_check"), "users")
    op.drop_column("users", "pending_email_until")
    op.drop_column("users", "pending_email")
