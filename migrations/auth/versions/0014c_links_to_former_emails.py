"""Links that were sent to a former address.

Apart from the mails: whoever locks two tables at once may meet a writer who took the other first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014c"
down_revision = "0014b"
branch_labels = None
depends_on = None


# allow two-tables-in-one-transaction: no released process writes former_emails
def upgrade() -> None:
    op.add_column("mail_links", sa.Column("former_email_id", sa.BigInteger))
    op.create_foreign_key(
        "mail_links_former_email_id_fkey",
        "mail_links",
        "former_emails",
        ["former_email_id"],
        ["id"],
        ondelete="CASCADE",
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    op.drop_column("mail_links", "former_email_id")
