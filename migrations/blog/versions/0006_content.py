"""Profiles, posts and comments, and which tombstones' content is yet to be erased."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "profiles",
        sa.Column("user_id", sa.Uuid),
        sa.Column("display_name", sa.Text),
        sa.Column("bio", sa.Text),
        sa.Column("avatar_url", sa.Text),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.PrimaryKeyConstraint("user_id", name="profiles_pkey"),
        comment="What users tell of themselves",
    )
    op.create_table(
        "posts",
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid()),
        sa.Column(
            "position",
            sa.BigInteger,
            sa.Identity(always=True),
            nullable=False,
            comment="newest: highest",
        ),
        sa.Column("author_id", sa.Uuid, nullable=False),
        sa.Column("title", sa.Text, comment="NULL once deleted"),
        sa.Column("body", sa.Text, comment="NULL once deleted"),
        sa.Column(
            "service_id",
            sa.Text,
            comment="the service that keeps it; NULL: its author wrote it here",
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column(
            "sweep",
            sa.Boolean,
            nullable=False,
            server_default=sa.text("false"),
            comment="deleted, and its comments are yet to be erased",
        ),
        sa.PrimaryKeyConstraint("id", name="posts_pkey"),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (title IS NOT NULL AND body IS NOT NULL)"
            " AND (title IS NULL) = (body IS NULL)",
            name=op.f("posts_deleted_check"),
        ),
        comment="Posts; of a deleted one only the id is left",
    )
    op.create_index(
        "posts_position_idx",
        "posts",
        ["position"],
        postgresql_where=sa.text("title IS NOT NULL"),
    )
    op.create_index(
        "posts_author_id_idx",
        "posts",
        ["author_id", "position"],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "posts_written_idx",
        "posts",
        ["author_id", "position"],
        postgresql_where=sa.text("service_id IS NULL"),
    )
    op.create_index(
        "posts_deleted_author_id_idx",
        "posts",
        ["author_id"],
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index("posts_sweep_idx", "posts", ["deleted_at"], postgresql_where=sa.text("sweep"))
    op.create_table(
        "comments",
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid()),
        sa.Column(
            "position",
            sa.BigInteger,
            sa.Identity(always=True),
            nullable=False,
            comment="oldest: lowest",
        ),
        sa.Column("post_id", sa.Uuid, nullable=False),
        sa.Column("author_id", sa.Uuid, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.PrimaryKeyConstraint("id", name="comments_pkey"),
        comment="Comments on posts",
    )
    op.create_index("comments_post_id_idx", "comments", ["post_id", "position"])
    op.create_index("comments_author_id_idx", "comments", ["author_id", "position"])
    op.add_column(
        "users",
        sa.Column("sweep", sa.Text, comment="why his content is yet to be erased; NULL: it is not"),
    )
    op.create_check_constraint(
        op.f("users_sweep_check"),
        "users",
        "sweep IN ('deleted', 'orphan')",
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    op.drop_column("users", "sweep")
    op.drop_table("comments")
    op.drop_table("posts")
    op.drop_table("profiles")
