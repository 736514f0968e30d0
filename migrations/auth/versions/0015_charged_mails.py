"""From whose limit a mail that waits was spent."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014d"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "mails",
        sa.Column(
            "charged_to", sa.LargeBinary, comment="keyed hash of the address that has paid for it"
        ),
    )


def downgrade() -> None:
    op.drop_column("mails", "charged_to")
