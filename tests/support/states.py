"""Generate users with the oddest values that the contract allows."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from contracts.events import EMAIL_LENGTH_MAX, VERSION_MAX, UserState, UserTombstone

ODD_TEXTS = [
    *('quo"te', "back\\slash", "a,b", "{a}", "  a ", "NULL", "1:a", "\t\n\r\x01\x02\x7f"),
    *("Straße", "e\u0301", "\u00e9", "🐘🐘", "\ud7ff\uffff"),
]
"""Texts that parsers, quoting or collations often get wrong."""

_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
"""All characters that PostgreSQL stores: no surrogates, no NUL."""


def texts(at_least: int, at_most: int) -> st.SearchStrategy[str]:
    odd = st.sampled_from(ODD_TEXTS).map(lambda text: text.ljust(at_least, "x")[:at_most])
    return odd | st.text(_CHARACTERS, min_size=at_least, max_size=min(at_most, 20))


def instants() -> st.SearchStrategy[datetime]:
    """Generate times of a few centuries, in UTC and other zones, to the microsecond."""
    edges = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-7, minutes=-30))),
    ]
    return st.sampled_from(edges) | st.integers(-(6 * 10**15), 13 * 10**15).map(
        lambda microseconds: edges[0] + timedelta(microseconds=microseconds)
    )


def versions() -> st.SearchStrategy[int]:
    return st.integers(1, VERSION_MAX)


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.uuids(),
    "version": versions(),
    "email": texts(3, EMAIL_LENGTH_MAX),
    "email_verified": st.booleans(),
    "roles": st.lists(texts(1, 64), max_size=4).map(tuple),
    "status": st.sampled_from(["active", "disabled"]),
    "tokens_valid_after": st.none() | instants(),
    "created_at": instants(),
    "updated_at": instants(),
}


def states() -> st.SearchStrategy[UserState]:
    return st.builds(UserState, **FIELDS)


def tombstones() -> st.SearchStrategy[UserTombstone]:
    return st.builds(UserTombstone, id=st.uuids(), version=versions(), deleted_at=instants())
