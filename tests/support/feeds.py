"""Feeds as a test wants them, in files and at addresses."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.http_server import served


@dataclass(frozen=True)
class Item:
    """An entry; ``day`` of January 2026 is when it was published."""

    key: str
    title: str
    html: str
    day: int


def rss(*items: Item) -> bytes:
    """An RSS 2.0 feed, newest first as most are."""
    written = "".join(
        f'<item><guid isPermaLink="false">{escape(item.key)}</guid><title>{escape(item.title)}'
        f"</title><description><![CDATA[{item.html}]]></description>"
        f"<pubDate>{item.day:02} Jan 2026 12:00:00 GMT</pubDate></item>"
        for item in sorted(items, key=lambda item: -item.day)
    )
    return (
        '<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>'
        f"{written}</channel></rss>"
    ).encode()


def atom(*items: Item) -> bytes:
    """An Atom feed, oldest first as some are."""
    written = "".join(
        f"<entry><id>{escape(item.key)}</id><title>{escape(item.title)}</title>"
        f'<content type="html">{escape(item.html)}</content>'
        f"<updated>2026-01-{item.day:02}T12:00:00Z</updated></entry>"
        for item in sorted(items, key=lambda item: item.day)
    )
    return (
        '<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>'
        f"{written}</feed>"
    ).encode()


@contextmanager
def at_an_address(answer: Callable[[Request], Response]) -> Iterator[str]:
    """An address at which every GET gets this answer."""
    app = Starlette(routes=[Route("/{path:path}", answer)])
    with served(app) as server:
        yield f"http://127.0.0.1:{server.port}/feed"


def as_feed(content: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that a feed is."""
    return Response(content, media_type="application/xml", headers=headers)
