"""The replica of the users."""

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
        sa.Column("id", sa.Uuid),
        sa.Column("version", sa.BigInteger, nullable=False, comment="0 while provisional"),
        sa.Column("email", sa.Text),
        sa.Column("email_verified", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column(
            "roles", postgresql.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")
        ),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("tokens_valid_after", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True)),
        sa.Column("updated_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column(
            "applied_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.PrimaryKeyConstraint("id", name="users_pkey"),
        sa.CheckConstraint(
            "status IN ('active', 'disabled', 'deleted', 'provisional')",
            name=op.f("users_status_check"),
        ),
        sa.CheckConstraint(
            "(status = 'deleted') = (deleted_at IS NOT NULL)", name=op.f("users_deleted_check")
        ),
        sa.CheckConstraint(
            "(status = 'provisional') = (version = 0)", name=op.f("users_provisional_check")
        ),
        sa.CheckConstraint(
            "status <> 'deleted' OR (email IS NULL AND roles = '{}' AND tokens_valid_after IS NULL"
            " AND created_at IS NULL AND updated_at IS NULL)",
            name=op.f("users_tombstone_check"),
        ),
        comment="Copy of the auth service's users; tombstones stay for ever",
    )


def downgrade() -> None:
    op.drop_table("users")
