"""The keys that sign access tokens, and their states."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("public_jwk", sa.JSON, nullable=False),
        sa.Column(
            "sealed_private_key",
            sa.LargeBinary,
            comment="NULL: the key is that of AUTH_PRIVATE_KEY",
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("activated_at", sa.DateTime(timezone=True)),
        sa.Column("retired_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("kid", name="signing_keys_pkey"),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'retired', 'revoked')",
            name=op.f("signing_keys_state_check"),
        ),
        comment="A row stays after its key has gone, so that no key comes back",
    )
    op.create_index(
        "signing_keys_active_idx",
        "signing_keys",
        ["state"],
        unique=True,
        postgresql_where=sa.text("state = 'active'"),
    )


def downgrade() -> None:
    op.drop_table("signing_keys")
