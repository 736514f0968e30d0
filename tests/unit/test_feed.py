"""The example's feed reader extracts the same text as other feed readers."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from feed_importer.feed import BODY_LENGTH_MAX, Entry, Unusable, read_feed
from feed_importer.text import html_to_text
from starlette.responses import RedirectResponse, Response, StreamingResponse

from tests.support.feeds import as_feed, at_an_address
from tests.support.refusals import refusal

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
CONTENT = ' xmlns:content="http://purl.org/rss/1.0/modules/content/"'


def rss(*items: str, declaration: str = DECLARATION, attributes: str = "") -> str:
    written = "".join(f"<item>{item}</item>" for item in items)
    return (
        f'{declaration}<rss version="2.0"{attributes}><channel><title>News</title>'
        f"<link>https://site.example/blog/</link>{written}</channel></rss>"
    )


def item(description: str, *, key: str = "1", title: str = "A") -> str:
    return (
        f'<title>{title}</title><guid isPermaLink="false">{key}</guid>'
        f"<description>{description}</description>"
    )


GOOD = rss(item("x")).encode()


@pytest.fixture
def read(tmp_path: Path) -> "Read":
    return Read(tmp_path / "feed.xml")


class Read:
    """A reader that writes each feed to a file first."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, content: str | bytes) -> list[Entry]:
        self._file.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_feed(str(self._file), 5)

    def body(self, content: str | bytes) -> str:
        [entry] = self(content)
        return entry.body


@pytest.mark.parametrize("before", ["\n", " \r\n\t", "\ufeff", "\ufeff\n\n"])
def test_space_before_the_declaration_is_accepted(read: Read, before: str) -> None:
    """Templates often leave a line break there."""
    assert read.body(before + rss(item("x"))) == "x"


def test_html_becomes_text_as_a_browser_lays_it_out() -> None:
    """Code lines stay lines, one break is one line break, table cells stay separate."""
    for html, text in (
        ("<pre>def f():\n    return 1\n\n    # end</pre>", "def f():\n    return 1\n\n    # end"),
        ("a<br>b<br/>c<br />d", "a\nb\nc\nd"),
        ("a<br/>\nb", "a\nb"),
        ("<p>a</p>\n\n<p>b</p>", "a\n\nb"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>", "a  b\nc  d"),
        ("<table><tr><th>a</th><td>b</td></tr></table>", "a  b"),
        ("<ul><li>a</li><li>b</li></ul>", "* a\n  * b"),
        ("<script>alert(1)</script><style>p {}</style>x", "x"),
        ("a &lt; b &amp;amp; &amp;lt;d&gt; &#38;lt; &eacute;&nbsp;", "a < b &amp; &lt;d> &lt; é"),
        ("Q&A, AT&T and x<y", "Q&A, AT&T and x<y"),
        ("a\x00b\x0b<b>c</b>", "abc"),
        ("", ""),
    ):
        assert html_to_text(html) == text, html


@pytest.mark.parametrize("empty", ["", " ", "<![CDATA[ <p> </p> ]]>", "<![CDATA[<img src='x'>]]>"])
def test_empty_content_falls_back_to_the_description(read: Read, empty: str) -> None:
    entry = f"<content:encoded>{empty}</content:encoded>{item('All of it.')}"
    assert read.body(rss(entry, attributes=CONTENT)) == "All of it."
    whole = entry.replace(f">{empty}<", ">The whole.<")
    assert read.body(rss(whole, attributes=CONTENT)) == "The whole."


def test_items_with_the_same_link_get_different_keys(read: Read) -> None:
    """They have no ids, and each keeps its key when the feed is read again."""
    link = "<link>https://site.example/</link>"
    items = [
        f"<title>{t}</title>{link}<description>{d}</description>" for t, d in ("Ax", "Bx", "By")
    ]
    entries = read(rss(*items))

    assert len({entry.key for entry in entries}) == 3
    assert read(rss(*items)) == entries
    assert read(rss(*reversed(items)))[::-1] == entries
    [alone] = read(rss(items[0]))
    assert alone.key == "https://site.example/"


def test_small_mistakes_are_tolerated(read: Read) -> None:
    for description, text in (
        ("Q&A at https://x.example/?a=1&b=2 &amp; x", "Q&A at https://x.example/?a=1&b=2 & x"),
        ("<![CDATA[AT&T &amp; you]]> & me", "AT&T & you & me"),
        ("a\x0bb\x01c", "abc"),
        ("a&nbsp;b &eacute;", "a b é"),
        ("fish & chips&nbsp;&copy;", "fish & chips ©"),
    ):
        first = next(e for e in read(rss(item(description), item("y", key="2"))) if e.key == "1")
        assert first.body.replace("\xa0", " ") == text, description


def test_an_undeclared_prefix_is_ignored(read: Read) -> None:
    entry = item("x") + "<media:thumbnail url='y'/><dc:creator>Ada</dc:creator>"
    assert read.body(rss(entry)) == "x"


@pytest.mark.parametrize("description", ["x", "a & b", "a&nbsp;b", "a\x0bb"])
@pytest.mark.parametrize("missing", [8, 20, 40])
def test_a_truncated_feed_is_refused(read: Read, description: str, missing: int) -> None:
    """Even with mistakes that are tolerated: half an entry would replace a complete one."""
    with pytest.raises(Unusable, match="broken feed"):
        read(rss(item("y", key="2"), item(description))[:-missing])


def test_date_and_link_are_the_last_line(read: Read) -> None:
    for link, shown in (
        ("https://site.example/1", "2026-01-02 · https://site.example/1"),
        ("/1", "2026-01-02 · https://site.example/1"),
        ("javascript:alert(1)", "2026-01-02"),
        ("", "2026-01-02"),
        (f"https://site.example/{'x' * 3_000}", "2026-01-02"),
    ):
        date = "<pubDate>Fri, 02 Jan 2026 10:00:00 GMT</pubDate>"
        assert read.body(rss(f"{item('x')}<link>{link}</link>{date}")) == f"x\n\n{shown}", link
        long = read.body(rss(f"{item('é' * 30_000)}<link>{link}</link>{date}"))
        assert long.endswith(f"…\n\n{shown}"), link
        assert len(long) == BODY_LENGTH_MAX, link


def test_an_entry_with_only_a_link_shows_it_once(read: Read) -> None:
    """Without a date there is no last line."""
    assert read.body(rss("<link>https://site.example/3</link>")) == "https://site.example/3"


def test_atom_and_rss_1_are_read(read: Read) -> None:
    atom = (
        f'{DECLARATION}<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title><entry><id>1</id>'
        '<title>A</title><link href="https://site.example/1"/><updated>2026-01-02T10:00:00Z</updated>'
        "<summary>x</summary></entry></feed>"
    )
    rdf = (
        f'{DECLARATION}<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        '<channel rdf:about="https://site.example/"><title>News</title></channel>'
        '<item rdf:about="https://site.example/1"><title>A</title><link>https://site.example/1</link>'
        "<description>x</description><dc:date>2026-01-02T10:00:00Z</dc:date></item></rdf:RDF>"
    )

    for feed in (atom, rdf):
        assert read.body(feed) == "x\n\n2026-01-02 · https://site.example/1"


def test_a_tower_of_marks_costs_no_more_than_other_texts(read: Read) -> None:
    """Composing one takes time with the square of its height: an hour, for this one."""
    tower = "e" + 300_000 * "\u0301\u0323"
    assert read(rss(item("x", key=tower)))


def assert_one_sentence(sentence: str, attempt: Callable[[], object]) -> None:
    assert re.search(f"{re.escape(sentence)}[^\n]*$", str(refusal(Unusable, attempt)))


NO_FEEDS = [
    (b"", "is not an RSS or Atom feed"),
    (b"<!doctype html><title>Sign in</title>", "is not an RSS or Atom feed"),
    (b"\x89PNG\r\n\x1a\n", "is not an RSS or Atom feed"),
    (GOOD[:-16], "is a broken feed: no element found"),
    (GOOD.replace(b"</title>", b"", 1), "is a broken feed: mismatched tag"),
    (rss(item("x", title="&#xD800;")).encode(), "cannot be read as a feed"),
    (GOOD + b" " * 2_000_000, "has more than 2000000 bytes"),
]


def test_what_is_no_feed_is_one_sentence(read: Read) -> None:
    """From a file or from an address."""
    served: list[bytes] = []
    with at_an_address(lambda _: as_feed(served[-1])) as address:
        for content, sentence in NO_FEEDS:
            served.append(content)
            for attempt in (partial(read, content), partial(read_feed, address, 60)):
                assert_one_sentence(sentence, attempt)


PACKED = gzip.compress(gzip.compress(GOOD))
"""A few of these bytes can be a gigabyte, of which nothing is to be unfolded."""


async def _endless() -> AsyncIterator[bytes]:
    yield GOOD
    while True:
        yield b" "
        await asyncio.sleep(0.05)


def test_an_address_without_a_feed_is_one_sentence() -> None:
    """An address that refuses, or redirects in circles or elsewhere."""
    answers = {
        "returns 404": Response(status_code=404),
        "Exceeded maximum allowed redirects": RedirectResponse("/feed"),
        "unsupported protocol 'file://'": RedirectResponse("file:///etc/passwd"),
        "is compressed": as_feed(PACKED, {"Content-Encoding": "gzip, gzip"}),
    }
    served: list[Response] = []
    with at_an_address(lambda _: served[-1]) as address:
        for sentence, answer in answers.items():
            served.append(answer)
            assert sentence in str(refusal(Unusable, read_feed, address, 60))


def test_a_feed_that_never_ends_takes_too_long() -> None:
    too_long = pytest.raises(Unusable, match="takes longer than 1 seconds")
    with at_an_address(lambda _: StreamingResponse(_endless())) as address, too_long:
        read_feed(address, 1)


def test_a_source_that_cannot_be_read_is_one_sentence() -> None:
    for source, sentence in (
        ("ftp://example.org/feed", "unsupported protocol 'ftp://'"),
        ("http://", "cannot be fetched"),
        ("/", "cannot be read: Is a directory"),
    ):
        assert_one_sentence(sentence, partial(read_feed, source, 5))
