"""The users, source of truth for every replica."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid()),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("email_verified", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("password_hash", sa.Text),
        sa.Column(
            "roles", postgresql.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")
        ),
        sa.Column("status", sa.Text, nullable=False, server_default=sa.text("'active'")),
        sa.Column("tokens_valid_after", sa.DateTime(timezone=True)),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="users_pkey"),
        sa.UniqueConstraint("email", name="users_email_key"),
        sa.CheckConstraint(
            "status IN ('active', 'disabled', 'deleted')", name=op.f("users_status_check")
        ),
        sa.CheckConstraint(
            "version BETWEEN 1 AND 9007199254740991", name=op.f("users_version_check")
        ),
        sa.CheckConstraint("length(email) <= 320", name=op.f("users_email_length_check")),
        sa.CheckConstraint(
            "CASE WHEN status = 'deleted'"
            " THEN deleted_at IS NOT NULL AND email IS NULL AND password_hash IS NULL"
            " AND roles = '{}'"
            " ELSE deleted_at IS NULL AND email IS NOT NULL AND password_hash IS NOT NULL END",
            name=op.f("users_tombstone_check"),
        ),
        comment="Source of truth; a deleted user stays as a tombstone without personal data",
    )


def downgrade() -> None:
    op.drop_table("users")
