"""Read an RSS or Atom feed from a URL or a file into entries of plain text.

Guarantees: any input gives entries or one sentence (``Unusable``); only the given URL is fetched;
size and time are bounded. A feed that is not well-formed is read as a feed reader does, unless an
entry may be truncated.
"""

import asyncio
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from xml.sax import SAXException

import feedparser
import httpx

from .text import html_to_text, plain

BYTES_MAX = 2_000_000
UNPACKED = {
    "Accept-Encoding": "identity"
}  # a compressed response could expand beyond what was read
REDIRECTS_MAX = 5
TITLE_LENGTH_MAX = 200  # this one and the next are the blog's limits
BODY_LENGTH_MAX = 20_000
LINK_LENGTH_MAX = 2_000  # a longer one is left out of the text

INVALID_TOKEN = "not well-formed (invalid token)"  # noqa: S105 - what the parser says
HARMLESS = (
    "undefined entity",  # HTML's &nbsp; in XML
    "unbound prefix",  # an undeclared namespace
)
"""Errors of the strict parser in feeds that the tolerant one reads completely."""

# A raw & or a control character, outside CDATA.
_NO_TOKEN = re.compile(
    rb"<!\[CDATA\[.*?\]\]>|&(?!#[0-9]+;|#x[0-9a-fA-F]+;|[A-Za-z][A-Za-z0-9]*;)|[\0-\x08\x0b\x0c\x0e-\x1f]",
    re.DOTALL,
)

_ENDED = re.compile(rb"</(\w+:)?(rss|rdf|feed)\s*>(?!.*<(\w+:)?(item|entry)[\s>])", re.I | re.S)


class Unusable(Exception):
    """The feed cannot be imported; the message says why, in one sentence."""


@dataclass(frozen=True)
class Entry:
    """An entry of a feed; ``key`` is the same each time the feed is read."""

    key: str
    title: str
    body: str


def read_feed(source: str, seconds_max: float) -> list[Entry]:
    """Return the entries of the feed in a file or at a URL, oldest first, without duplicates.

    Raises:
        Unusable: it cannot be read, is too large, or is not a feed.
    """
    content = asyncio.run(_fetched(source, seconds_max)) if "://" in source else _file(source)
    if len(content) > BYTES_MAX:
        raise Unusable(f"{source} has more than {BYTES_MAX} bytes")
    found, base = _parsed(content.lstrip(b"\xef\xbb\xbf \t\r\n"), source)
    found.reverse()  # most feeds begin with the newest
    found.sort(key=_date)
    # Of two entries with one key, the newer: with both, every import would change the post twice.
    return list({entry.key: entry for entry in _entries(found, base)}.values())


async def _fetched(url: str, seconds_max: float) -> bytes:
    content = bytearray()
    try:
        async with (
            asyncio.timeout(seconds_max),
            httpx.AsyncClient(
                follow_redirects=True, max_redirects=REDIRECTS_MAX, headers=UNPACKED
            ) as client,
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise Unusable(f"{url} is compressed, against the request")
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > BYTES_MAX:
                    break
    except httpx.HTTPStatusError as error:
        raise Unusable(f"{url} returns {error.response.status_code}") from None
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


def _parsed(content: bytes, source: str) -> tuple[list[Any], str]:
    """Return the entries, and the base of their links."""
    feed = _read(content, source)
    if _fault(feed) == INVALID_TOKEN:
        content = _NO_TOKEN.sub(_repaired, content)
        feed = _read(content, source)
    if not feed.get("version"):
        raise Unusable(f"{source} is not an RSS or Atom feed")
    fault = _fault(feed)
    if fault and not (fault in HARMLESS and _ENDED.search(content)):
        # An entry may be truncated, and would replace the whole one.
        raise Unusable(f"{source} is a broken feed: {fault}")
    site = feed.feed.get("link", "")
    return list(feed.entries), urljoin(source, site) if "://" in source else site


def _read(content: bytes, source: str) -> Any:
    try:
        # From a stream: feedparser would open a text that looks like a URL or a path.
        return feedparser.parse(
            io.BytesIO(content), sanitize_html=False, resolve_relative_uris=False
        )
    except Exception as error:  # some errors of hostile texts are not caught inside
        raise Unusable(f"{source} cannot be read as a feed: {type(error).__name__}") from None


def _fault(feed: Any) -> str:
    """Return the strict parser's error; empty if there is none."""
    fault = feed.get("bozo_exception")
    return fault.getMessage() if isinstance(fault, SAXException) else ""


def _repaired(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0][:1] == b"<" else b"&amp;" if found[0] == b"&" else b""


def _date(entry: Any) -> tuple[int, ...]:
    return tuple(entry.get("published_parsed") or entry.get("updated_parsed") or ())


def _entries(found: list[Any], base: str) -> Iterator[Entry]:
    shared = Counter(_link(each) for each in found if not each.get("id"))
    for each in found:
        link = _link(each)
        title = " ".join(_text(each.get("title_detail")).split())
        body = _body(each) or title or link
        date = plain(each.get("published") or each.get("updated") or "")
        key = plain(each.get("id", "")) or link
        if link and not each.get("id") and shared[link] > 1:
            # Entries that share one link, such as the site's, are distinguished by their text.
            key = f"{link} {title} {date} {hashlib.sha256(body.encode()).hexdigest()[:16]}".strip()
        key = key or f"{title} {date}".strip() or body
        if key:
            title = title or body.partition("\n")[0] or key
            origin = _origin(each, urljoin(base, link) if link else "", body)
            yield Entry(key, _cut(title, TITLE_LENGTH_MAX), _with_origin(body or key, origin))


def _link(entry: Any) -> str:
    return plain(entry.get("link", ""))


def _body(entry: Any) -> str:
    """Return the first text that is not empty: of the content, else of the summary."""
    details = [*(entry.get("content") or []), entry.get("summary_detail")]
    return next((text for text in map(_text, details) if text), "")


def _origin(entry: Any, link: str, body: str) -> str:
    """Return when and where the entry was published, as far as it says so."""
    date = _date(entry)
    said = [f"{date[0]:04}-{date[1]:02}-{date[2]:02}"] if date else []
    is_own = "://" in _link(entry) or entry.get("id") != entry.get(
        "link"
    )  # not a guid that is not a link
    is_shown = is_own and link.startswith(("http://", "https://")) and link != body
    if is_shown and len(link) <= LINK_LENGTH_MAX:
        said.append(link)
    return " · ".join(said)


def _with_origin(body: str, origin: str) -> str:
    ending = f"\n\n{origin}" if origin else ""
    return _cut(body, BODY_LENGTH_MAX - len(ending)) + ending


def _text(detail: Any) -> str:
    """Return the plain text of a value that feedparser marks as HTML or text."""
    value = detail.get("value") if detail else None
    if not value:
        return ""
    return plain(value if detail.get("type") == "text/plain" else html_to_text(value))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
