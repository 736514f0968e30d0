"""The table ``comments``. Written by ``comments``; erased by ``erasure``."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Table, Text, Uuid, func

from blog_service.db import metadata

comments = Table(
    "comments",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("position", BigInteger, Identity(always=True), nullable=False, comment="oldest: lowest"),
    # No foreign keys: comments of a deleted post or author are erased in bounded batches.
    Column("post_id", Uuid, nullable=False),
    Column("author_id", Uuid, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="Comments on posts",
)

Index("comments_post_id_idx", comments.c.post_id, comments.c.position)
Index("comments_author_id_idx", comments.c.author_id, comments.c.position)
