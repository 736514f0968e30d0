"""Read an RSS or Atom feed, wherever it is, into entries of plain text.

Guarantees: whatever the feed is, one sentence (``Unusable``) or entries; nothing is fetched but the
address that was given; size and time are bounded.
"""

import asyncio
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax import SAXException

import feedparser
import httpx

from .text import html_to_text, plain

BYTES_MAX = 2_000_000
UNPACKED = {"Accept-Encoding": "identity"}  # a packed answer could unfold to more than was read
REDIRECTS_MAX = 5
TITLE_LENGTH_MAX = 200  # this one and the next are the blog's limits
BODY_LENGTH_MAX = 20_000


class Unusable(Exception):
    """There is nothing to import; the message says why, in one sentence."""


@dataclass(frozen=True)
class Entry:
    """An entry of a feed; ``key`` is the same whenever the feed is read."""

    key: str
    title: str
    body: str


def read_feed(source: str, seconds_max: float) -> list[Entry]:
    """The entries of the feed in a file or at an address, oldest first, each of them once.

    Raises:
        Unusable: it cannot be had, is too large, or is no feed.
    """
    content = asyncio.run(_fetched(source, seconds_max)) if "://" in source else _file(source)
    if len(content) > BYTES_MAX:
        raise Unusable(f"{source} has more than {BYTES_MAX} bytes")
    found = _parsed(content, source)
    found.reverse()  # most feeds begin with the newest
    found.sort(key=_date)
    # Of two with the same key the newer one: with both, every import would change the post twice.
    return list({entry.key: entry for entry in _entries(found)}.values())


async def _fetched(url: str, seconds_max: float) -> bytes:
    content = bytearray()
    try:
        async with (
            asyncio.timeout(seconds_max),
            httpx.AsyncClient(
                follow_redirects=True, max_redirects=REDIRECTS_MAX, headers=UNPACKED
            ) as client,
            client.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise Unusable(f"{url} comes packed, though nobody asked for that")
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) > BYTES_MAX:
                    break
    except httpx.HTTPStatusError as error:
        raise Unusable(f"{url} answers {error.response.status_code}") from None
    except TimeoutError:
        raise Unusable(f"{url} takes longer than {seconds_max:g} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unusable(f"{url} cannot be fetched: {error or type(error).__name__}") from None
    return bytes(content)


def _file(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            return file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise Unusable(f"{name} cannot be read: {getattr(error, 'strerror', error)}") from None


def _parsed(content: bytes, source: str) -> list[Any]:
    try:
        # From a stream: what looks like an address or a path, feedparser would open.
        feed = feedparser.parse(
            io.BytesIO(content), sanitize_html=False, resolve_relative_uris=False
        )
    except Exception as error:  # it lets some errors of hostile texts through
        raise Unusable(f"{source} cannot be read as a feed: {type(error).__name__}") from None
    if not feed.get("version"):
        raise Unusable(f"{source} is no RSS or Atom feed")
    fault = feed.get("bozo_exception")
    if isinstance(fault, SAXException) and not _is_readable(fault, content):
        raise Unusable(f"{source} is a broken feed: {fault.getMessage()}")
    return list(feed.entries)


def _is_readable(fault: SAXException, content: bytes) -> bool:
    """Whether all that is wrong is HTML's ``&nbsp;`` in XML, which is common, and means no harm.

    Anything else may have lost the half of an entry, which would replace the whole one.
    """
    is_whole = re.search(rb"</(\w+:)?(rss|rdf|feed)\s*>\s*\Z", content, re.IGNORECASE)
    return fault.getMessage() == "undefined entity" and is_whole is not None


def _date(entry: Any) -> tuple[int, ...]:
    return tuple(entry.get("published_parsed") or entry.get("updated_parsed") or ())


def _entries(found: list[Any]) -> Iterator[Entry]:
    for each in found:
        link = plain(each.get("link", ""))
        title = " ".join(_text(each.get("title_detail")).split())
        body = _text((each.get("content") or [each.get("summary_detail")])[0]) or title or link
        date = each.get("published") or each.get("updated") or ""
        key = plain(each.get("id", "")) or link or f"{title} {plain(date)}".strip() or body
        if key:
            title = title or body.partition("\n")[0] or key
            yield Entry(key, _cut(title, TITLE_LENGTH_MAX), _cut(body or key, BODY_LENGTH_MAX))


def _text(detail: Any) -> str:
    """The plain text of what feedparser found, which it says is HTML or is not."""
    value = detail.get("value") if detail else None
    if not value:
        return ""
    return plain(value if detail.get("type") == "text/plain" else html_to_text(value))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
