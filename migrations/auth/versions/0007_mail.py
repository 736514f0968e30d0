"""Mails to be sent, and the links in those that were."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mails",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column(
            "next_try_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.PrimaryKeyConstraint("id", name="mails_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="mails_user_id_fkey"),
        comment="To be sent to the address that the user has then; gone once sent or given up",
    )
    op.create_index("mails_next_try_at_idx", "mails", ["next_try_at"])
    op.create_index("mails_user_id_idx", "mails", ["user_id"])
    op.create_table(
        "mail_links",
        sa.Column("token_hash", sa.LargeBinary),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="mail_links_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="mail_links_user_id_fkey"),
        comment="Links that were sent and not yet opened",
    )
    op.create_index("mail_links_user_id_idx", "mail_links", ["user_id"])
    op.create_index("mail_links_expires_at_idx", "mail_links", ["expires_at"])


def downgrade() -> None:
    op.drop_table("mail_links")
    op.drop_table("mails")
