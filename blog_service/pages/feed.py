"""Write a feed in Atom (RFC 4287). Pure.

Guarantees: the ids of feed and entries never change, not even with the blog's address: they are
UUIDs, of the posts and of the issuer's name. All text is escaped, and without the few characters
that texts may have and XML may not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree as ET

from blog_service.pages.templates import iso, name_of
from blog_service.settings import ApiSettings

ATOM: Final = "application/atom+xml; charset=utf-8"
"""The media type of a feed."""

_NAMESPACE: Final = "http://www.w3.org/2005/Atom"

_NOT_IN_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

BEFORE_ANY: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a feed without posts was updated; the format demands a time."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed without its posts.

    Parameters:
        title: its name.
        id: what never changes of it.
        address: the blog's public address; empty if it is not known, so that links are relative.
        page: the path of the page with the same posts.
    """

    title: str
    id: str
    address: str
    page: str

    @classmethod
    def at(cls, settings: ApiSettings, title: str, page: str) -> "Feed":
        """Return the feed of the posts on a page."""
        name = uuid5(NAMESPACE_URL, f"{settings.issuer} {settings.audience} {page}")
        return cls(title, f"urn:uuid:{name}", settings.public_url or "", page)

    @property
    def path(self) -> str:
        """Where the feed is."""
        return f"{self.page.rstrip('/')}/feed.atom"


def updated(posts: Sequence[dict[str, Any]]) -> datetime:
    """Return when the latest of these posts was changed."""
    return max((post["updated_at"] for post in posts), default=BEFORE_ANY)


def atom(feed: Feed, posts: Sequence[dict[str, Any]], html: Sequence[str]) -> bytes:
    """Return a feed.

    Parameters:
        feed: its name and places.
        posts: the entries, newest first (``posts.read.post_document``).
        html: the body of each post.
    """
    ET.register_namespace("", _NAMESPACE)
    root = ET.Element(f"{{{_NAMESPACE}}}feed")
    _add(root, "id", feed.id)
    _add(root, "title", feed.title)
    _add(root, "updated", iso(updated(posts)))
    _add(root, "link", rel="self", type="application/atom+xml", href=feed.address + feed.path)
    _add(root, "link", rel="alternate", type="text/html", href=feed.address + feed.page)
    for post, body in zip(posts, html, strict=True):
        _add_entry(root, feed.address, post, body)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _add_entry(root: ET.Element, address: str, post: dict[str, Any], html: str) -> None:
    entry = _add(root, "entry")
    _add(entry, "id", f"urn:uuid:{post['id']}")
    _add(entry, "title", post["title"])
    _add(entry, "published", iso(post["created_at"]))
    _add(entry, "updated", iso(post["updated_at"]))
    _add(entry, "link", rel="alternate", type="text/html", href=f"{address}/posts/{post['id']}")
    author = _add(entry, "author")
    _add(author, "name", name_of(post["author"]))
    if post["author"]["id"] is not None:
        _add(author, "uri", f"{address}/users/{post['author']['id']}")
    _add(entry, "summary", post["excerpt"])
    _add(entry, "content", html, type="html")


def _add(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, f"{{{_NAMESPACE}}}{name}", attributes)
    element.text = None if text is None else _NOT_IN_XML.sub("\ufffd", text)
    return element
