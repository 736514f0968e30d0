"""Read posts with their authors, as readers see them.

Guarantees: one statement, however many posts; the list follows an index from the cursor on, so that
a page costs the same wherever it is, and what is written meanwhile moves nothing.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.profiles.author import (
    AUTHOR_COLUMNS,
    author_document,
    is_shown_sql,
    join_author_sql,
)
from blog_service.settings import DeletedAuthors
from service_kit.database.reader import Reader, RowLike
from service_kit.http import problems
from service_kit.http.problems import Problem

NEWEST: Final = 2**63 - 1
"""Above every position: where the first page begins."""


async def posts_page(
    reader: Reader,
    shown: DeletedAuthors,
    *,
    limit: int,
    before: int | None = None,
    author_id: UUID | None = None,
) -> Sequence[RowLike]:
    """Posts from the newest on, or from ``before``; of everybody, or of one author."""
    start = NEWEST if before is None else before
    if author_id is None:
        return await reader.rows(page_sql(shown, limit), start)
    return await reader.rows(page_sql(shown, limit, of_one=True), start, author_id)


@cache
def page_sql(shown: DeletedAuthors, limit: int, *, of_one: bool = False) -> str:
    """The statement for so many posts before $1, of everybody or of the author $2.

    The limit is written out, so that PostgreSQL plans once for each: it takes one that comes as a
    value for a tenth of the table, and plans again each time, which costs more than the page.

    Of one author nothing is shown once he is deleted: who remembers his id would otherwise know
    whose the posts of a "deleted user" were.
    """
    condition = "post.title IS NOT NULL"  # by which the index of everybody's posts is found
    if of_one:
        condition = "post.author_id = $2 AND author.deleted_at IS NULL"
    return f"""
        {_select(shown)} AND {condition} AND post.position < $1
        ORDER BY post.position DESC LIMIT {limit}
        """


async def post_by_id(connection: AsyncConnection, shown: DeletedAuthors, post_id: UUID) -> RowLike:
    """One post.

    Raises:
        Problem: 404, there is none that is shown.
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
        WHERE post.deleted_at IS NULL AND {is_shown_sql(shown)}
        """  # noqa: S608 - made of constants


def post_document(row: RowLike) -> dict[str, Any]:
    """A post as JSON shows it (``bodies.PostBody``)."""
    return {
        "id": row["id"],
        "author": author_document(row),
        "title": row["title"],
        "body": row["body"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
