"""Comments of tables and columns in plain words."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Table, before, since.
OF_TABLES = (
    (
        "users",
        "Copy of the auth service's users; tombstones stay for ever",
        "Copy of the auth service's users; tombstones are permanent",
    ),
    (
        "revoked_keys",
        "Signing keys whose tokens are refused, whatever key set is at hand",
        "Signing keys whose tokens are rejected, even if a cached key set has the key",
    ),
    (
        "discarded_messages",
        "Which parked messages were discarded, by whom and why; not what was in them",
        "Discarded messages: by which operator and why, without their content",
    ),
    (
        "services",
        "Service accounts whose access tokens of before are refused",
        "Service accounts whose earlier access tokens are rejected",
    ),
)

# Table, column, type, before, since.
OF_COLUMNS = (
    (
        "users",
        "sweep",
        sa.Text(),
        "why his content is yet to be erased; NULL: it is not",
        "why the user's content must still be erased; NULL: nothing to erase",
    ),
    (
        "parked_messages",
        "user_id",
        sa.Uuid(),
        "NULL when no user is legible; expires then",
        "NULL if no user can be identified; the message then expires",
    ),
    (
        "waiting_messages",
        "user_id",
        sa.Uuid(),
        "NULL when no user is legible",
        "NULL if no user can be identified",
    ),
)


def upgrade() -> None:
    for table, before, since in OF_TABLES:
        op.create_table_comment(table, since, existing_comment=before)
    for table, column, type_, before, since in OF_COLUMNS:
        op.alter_column(table, column, existing_type=type_, comment=since, existing_comment=before)


def downgrade() -> None:
    for table, before, since in OF_TABLES:
        op.create_table_comment(table, before, existing_comment=since)
    for table, column, type_, before, since in OF_COLUMNS:
        op.alter_column(table, column, existing_type=type_, comment=before, existing_comment=since)
