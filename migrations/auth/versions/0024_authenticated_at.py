"""When a session's password was last confirmed."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "sessions",
        sa.Column(
            "authenticated_at",
            sa.DateTime(timezone=True),
            comment="when the password was last confirmed; NULL: at sign-in only",
        ),
    )


def downgrade() -> None:
    op.drop_column("sessions", "authenticated_at")
