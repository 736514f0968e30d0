"""Mails that go to a former address, and who asked for them."""

import sqlalchemy as sa
from alembic import op

revision = "0014b"
down_revision = "0014"
branch_labels = None
depends_on = None


# allow two-tables-in-one-transaction: no released process writes former_emails
def upgrade() -> None:
    op.add_column("mails", sa.Column("former_email_id", sa.BigInteger))
    op.create_foreign_key(
        "mails_former_email_id_fkey",
        "mails",
        "former_emails",
        ["former_email_id"],
        ["id"],
        ondelete="CASCADE",
        postgresql_not_valid=True,
    )
    op.add_column(
        "mails",
        sa.Column(
            "networks",
            sa.ARRAY(sa.Text),
            nullable=False,
            server_default=sa.text("'{}'"),
            comment="keyed hashes of the networks whose request asked for it",
        ),
    )


def downgrade() -> None:
    op.drop_column("mails", "networks")
    op.drop_column("mails", "former_email_id")
