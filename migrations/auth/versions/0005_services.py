"""Service accounts and their API keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "service_accounts",
        sa.Column("id", sa.Text, comment="svc_…, made here"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.PrimaryKeyConstraint("id", name="service_accounts_pkey"),
        sa.UniqueConstraint("name", name="service_accounts_name_key"),
        comment="Back-ends that get tokens of their own",
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text),
        sa.Column("service_id", sa.Text, nullable=False),
        sa.Column("secret_mac", sa.LargeBinary, nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("key_id", name="api_keys_pkey"),
        sa.ForeignKeyConstraint(
            ["service_id"],
            ["service_accounts.id"],
            name="api_keys_service_id_fkey",
            ondelete="CASCADE",
        ),
        comment="Hashes, keyed with a secret that is not in this database",
    )
    op.create_index("api_keys_service_id_idx", "api_keys", ["service_id"])


def downgrade() -> None:
    op.drop_table("api_keys")
    op.drop_table("service_accounts")
