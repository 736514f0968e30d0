"""Parked messages that an operator discarded, without what was in them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "discarded_messages",
        sa.Column("id", sa.BigInteger, comment="as it was when parked"),
        sa.Column("message_hash", sa.LargeBinary, nullable=False),
        sa.Column("user_id", sa.Uuid),
        sa.Column("parked_for", sa.Text, nullable=False, comment="the reason of parking"),
        sa.Column("because", sa.Text, nullable=False, comment="the operator's words"),
        sa.Column("discarded_by", sa.Text, nullable=False),
        sa.Column(
            "discarded_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.PrimaryKeyConstraint("id", name="discarded_messages_pkey"),
        comment="Which parked messages were discarded, by whom and why; not what was in them",
    )


def downgrade() -> None:
    op.drop_table("discarded_messages")
