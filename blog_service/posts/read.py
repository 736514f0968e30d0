"""Read posts with their authors, as readers see them.

Guarantees: a page takes one statement, which reads an index from the cursor on. So every page costs
the same, and posts that are written meanwhile do not shift the pages.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.markdown import excerpt
from blog_service.posts.table import WORDS
from blog_service.profiles.author import (
    AUTHOR_COLUMNS,
    author_document,
    is_visible_sql,
    join_author_sql,
)
from blog_service.rendering import Renderer
from blog_service.settings import DeletedAuthors
from service_kit.database.alone import RowLike
from service_kit.database.reader import Reader
from service_kit.http import problems
from service_kit.http.problems import Problem

NEWEST: Final = 2**63 - 1
"""Higher than every position; the first page starts here."""


async def posts_page(
    reader: Reader,
    shown: DeletedAuthors,
    *,
    limit: int,
    before: int | None = None,
    author_id: UUID | None = None,
    words: str | None = None,
) -> Sequence[RowLike]:
    """Return up to ``limit`` posts, newest first.

    Parameters:
        reader: reads from the blog's database.
        shown: whether content of deleted authors is visible.
        limit: the rows to return at most.
        before: the position before which to continue; None starts with the newest.
        author_id: return only the posts of this user; None returns those of all.
        words: return only posts with these words, as search engines read them; None returns all.
    """
    values: list[object] = [NEWEST if before is None else before]
    values += [value for value in (author_id, words) if value is not None]
    sql = page_sql(shown, limit, of_one=author_id is not None, with_words=words is not None)
    return await reader.rows(sql, *values)


@cache
def page_sql(
    shown: DeletedAuthors, limit: int, *, of_one: bool = False, with_words: bool = False
) -> str:
    """Return the SQL for ``limit`` posts before position $1.

    They are of all authors, or of author $2. The words to search for are the last parameter.

    The limit is part of the SQL, so that PostgreSQL plans once for each limit. As a parameter it
    would be estimated at a tenth of the table and planned on every call, which costs more than
    reading the page.

    The posts of a deleted author cannot be listed by the author's id: otherwise a client that
    remembers the id would learn which posts of "deleted user" were theirs.
    """
    condition = "post.title IS NOT NULL"  # selects the index over all posts, or that of words
    if of_one:
        condition = "post.author_id = $2 AND author.deleted_at IS NULL"
    if with_words:
        parameter = "$3" if of_one else "$2"
        condition += f" AND {WORDS} @@ websearch_to_tsquery('english', {parameter})"
    return f"""
        {_select(shown)} AND {condition} AND post.position < $1
        ORDER BY post.position DESC LIMIT {limit}
        """


async def post_by_id(connection: AsyncConnection, shown: DeletedAuthors, post_id: UUID) -> RowLike:
    """Return a post.

    Raises:
        Problem: 404, no visible post has this id.
    """
    found = await connection.execute(_one_query(shown), {"id": post_id})
    row = found.mappings().one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row


@cache
def _one_query(shown: DeletedAuthors) -> TextClause:
    return text(f"{_select(shown)} AND post.id = :id")


def _select(shown: DeletedAuthors) -> str:
    return f"""
        SELECT post.id, post.position, post.title, post.body, post.created_at, post.updated_at,
               post.author_id AS owner_id, post.service_id, {AUTHOR_COLUMNS}
        FROM posts AS post {join_author_sql("post.author_id")}
        WHERE post.deleted_at IS NULL AND {is_visible_sql(shown)}
        """  # noqa: S608 - made of constants


def post_document(row: RowLike) -> dict[str, Any]:
    """Return the JSON of a post in a list (``bodies.PostBody``)."""
    return {
        "id": row["id"],
        "author": author_document(row),
        "title": row["title"],
        "body": row["body"],
        "excerpt": excerpt(row["body"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


async def full_post_document(renderer: Renderer, row: RowLike) -> dict[str, Any]:
    """Return the JSON of a post by itself (``bodies.FullPostBody``)."""
    return post_document(row) | {"body_html": await renderer.post(row["body"])}
