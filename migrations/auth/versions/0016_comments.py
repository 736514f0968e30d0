"""Comments of columns in plain words; one of them left out a kind."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# Table, column, type, before, since.
COMMENTS = (
    (
        "sessions",
        "user_agent",
        sa.Text(),
        "so that a user knows his devices",
        "shown to the user to identify the device",
    ),
    (
        "outbox_events",
        "set_aside",
        sa.SmallInteger(),
        "1: no queue takes it, 2: an earlier one of its user is set aside; else 0",
        "1: no queue takes it, 2: an earlier one of its user waits, 3: cannot be sent; else 0",
    ),
)


def upgrade() -> None:
    for table, column, type_, before, since in COMMENTS:
        op.alter_column(table, column, existing_type=type_, comment=since, existing_comment=before)


def downgrade() -> None:
    for table, column, type_, before, since in COMMENTS:
        op.alter_column(table, column, existing_type=type_, comment=before, existing_comment=since)
