"""Pages of a collection, by cursor: what is added meanwhile moves nothing (keyset paging).

A cursor is the key of the last item that was shown, in a form that invites nobody to compute with
it. It is no secret, and grants nothing.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from contracts.encodings import base64url_bytes, base64url_text

PAGE_ITEMS_MAX = 100
"""More than one looks at, and few enough for one quick statement."""

PAGE_ITEMS_DEFAULT = 50

CURSOR_LENGTH_MAX = 22
"""A UUID in base64url."""

_NUMBER_BYTES = 8
"""A bigint, PostgreSQL's largest key; as a UUID has 16, no cursor fits another collection."""

Item = TypeVar("Item")
Key = TypeVar("Key", UUID, int)


class Page(BaseModel, Generic[Item]):
    """Some items, and the ``cursor`` for the next ones; null after the last."""

    items: list[Item]
    next_cursor: str | None = Field(description="null on the last page")


def page_of(found: Sequence[Item], limit: int, *, key: Callable[[Item], UUID | int]) -> Page[Item]:
    """The page of the first ``limit`` items, of which one more than that was looked for."""
    items = list(found[:limit])
    return Page(
        items=items, next_cursor=cursor_after(key(items[-1])) if len(found) > limit else None
    )


def cursor_after(key: UUID | int) -> str:
    """The cursor for what comes after the item with this key."""
    packed = key.bytes if isinstance(key, UUID) else key.to_bytes(_NUMBER_BYTES, "big")
    return base64url_text(packed)


def _uuid(packed: bytes) -> UUID:
    return UUID(bytes=packed)


def _number(packed: bytes) -> int:
    number = int.from_bytes(packed, "big", signed=True)
    if len(packed) != _NUMBER_BYTES or number < 0:
        raise ValueError
    return number


def _reads(key: Callable[[bytes], Key]) -> Callable[[object], Key]:
    def read(cursor: object) -> Key:
        text = str(cursor)
        try:
            if len(text) > CURSOR_LENGTH_MAX:
                raise ValueError
            return key(base64url_bytes(text))
        except ValueError:
            raise ValueError("is no cursor of this collection") from None

    return read


def _documented(pattern: str) -> WithJsonSchema:
    description = "`next_cursor` of the page before"
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": description})


# The last characters have bits that are not used, and zero; a number's first bit is its sign.
UuidCursor = Annotated[
    UUID, BeforeValidator(_reads(_uuid)), _documented("^[A-Za-z0-9_-]{21}[AQgw]$")
]
"""A cursor in a collection whose keys are UUIDs; another text gets 422."""

NumberCursor = Annotated[
    int,
    BeforeValidator(_reads(_number)),
    _documented("^[A-Za-f][A-Za-z0-9_-]{9}[AEIMQUYcgkosw048]$"),
]
"""A cursor in a collection whose keys are numbers."""

Limit = Annotated[int, Query(ge=1, le=PAGE_ITEMS_MAX, description="items on a page, at most")]
