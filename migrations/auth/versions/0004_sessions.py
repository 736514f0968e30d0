"""Sessions, each with its family of refresh tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid()),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("counter", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column(
            "refreshed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("end_reason", sa.Text),
        sa.Column("user_agent", sa.Text, comment="so that a user knows his devices"),
        sa.PrimaryKeyConstraint("id", name="sessions_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="sessions_user_id_fkey"),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (end_reason IS NULL)", name=op.f("sessions_ended_check")
        ),
        sa.CheckConstraint(
            "length(user_agent) <= 256", name=op.f("sessions_user_agent_length_check")
        ),
        comment="One row a sign-in, and its family of refresh tokens",
    )
    op.create_index("sessions_user_id_idx", "sessions", ["user_id", "refreshed_at"])


def downgrade() -> None:
    op.drop_table("sessions")
