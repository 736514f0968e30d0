"""The table ``posts``. Written by ``posts``; erased by ``erasure``.

The id of a deleted post stays as long as its author exists. So a service that sends all its posts
again and again (``PUT``) does not create it again, and it still counts (``limits``).
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from blog_service.db import metadata

WORDS: Final = "to_tsvector('english'::regconfig, (title || ' '::text) || body)"
"""SQL: the words of a post, without endings and the commonest of English; words of other languages
are found as they are written, and some of them by their stems too."""

posts = Table(
    "posts",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column(
        "position", BigInteger, Identity(always=True), nullable=False, comment="newest: highest"
    ),
    # No foreign key: when a lost row of the replica is restored, its posts belong to it again.
    Column("author_id", Uuid, nullable=False),
    Column("title", Text, comment="NULL once deleted"),
    Column("body", Text, comment="NULL once deleted"),
    Column("service_id", Text, comment="the service that keeps it; NULL: its author wrote it here"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("deleted_at", DateTime(timezone=True)),
    Column(
        "sweep",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="deleted, and its comments are yet to be erased",
    ),
    CheckConstraint(
        "(deleted_at IS NULL) = (title IS NOT NULL AND body IS NOT NULL)"
        " AND (title IS NULL) = (body IS NULL)",
        name="deleted",
    ),
    comment="Posts; of a deleted one only the id is left",
)

# Both conditions match the same rows, which PostgreSQL does not know. With equal conditions it
# would search the posts of one author among all posts, where it expects to find some soon.
Index("posts_position_idx", posts.c.position, postgresql_where=text("title IS NOT NULL"))
Index(
    "posts_author_id_idx",
    posts.c.author_id,
    posts.c.position,
    postgresql_where=text("deleted_at IS NULL"),
)
# The latest posts of a user, deleted ones included.
Index(
    "posts_written_idx",
    posts.c.author_id,
    posts.c.position,
    postgresql_where=text("service_id IS NULL"),
)
Index(
    "posts_deleted_author_id_idx",
    posts.c.author_id,
    postgresql_where=text("deleted_at IS NOT NULL"),
)
# For searches. No column: a computed one would be added by writing the whole table again, which
# nobody may read or write meanwhile.
Index(
    "posts_words_idx",
    text(WORDS),
    postgresql_using="gin",
    postgresql_where=text("title IS NOT NULL"),
    _table=posts,
)
Index("posts_sweep_idx", posts.c.deleted_at, postgresql_where=text("sweep"))
