"""Render what users write, in Markdown, as HTML. Pure.

CommonMark with struck-out text; line breaks stay, and a URL that begins with ``https://`` or
``http://`` is a link, unless there are too many (``LINKS_MAX``). HTML in a text is shown as it was
typed. Pictures are off, since each would tell its host who reads which page, and when; ``![…](…)``
becomes a link to the picture.

Guarantees: the result has no tags but ``TAGS`` and no attributes but a link's address and the first
number of a list, so that it is safe wherever HTML is. Two libraries see to that, each by itself:
the renderer is told not to pass HTML on, and the sanitizer drops everything that is not listed. A
link leads to ``SCHEMES`` alone, tells its target nothing of the page that it is on, and is no
recommendation (``REL``). Headings are below those of the page.

Not here: what a text may contain (``texts``), and how often one is rendered (``rendering``).
"""

import re
from functools import lru_cache
from typing import Any, Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

TAGS: Final = frozenset(
    {
        *("p", "br", "hr", "blockquote", "pre", "code", "ul", "ol", "li"),
        *("a", "em", "strong", "s", "h2", "h3", "h4", "h5", "h6"),
    }
)
"""The elements that a rendered text consists of."""

ATTRIBUTES: Final = {"a": {"href"}, "ol": {"start"}, "*": set[str]()}
"""By element; ``rel`` comes on top."""

SCHEMES: Final = frozenset({"http", "https", "mailto"})
"""Where a link may lead. Relative addresses are not among them: in a feed they would lead nowhere,
and on a page they could pass for its own controls."""

_ADDRESS: Final = re.compile(r"https?://[^/?#]|mailto:[^@]+@.", re.IGNORECASE)
"""How one begins. The library empties a host that is too long, and with it the text of the link."""

REL: Final = "nofollow ugc noopener noreferrer"

NESTING_MAX: Final = 20
"""Quotes and lists inside each other; what is deeper is left out."""

LINKS_MAX: Final = 300
"""Occurrences of ``://`` up to which a text's URLs become links by themselves: one in every line of
the longest post. The library looks from each of them through the rest of the text: without a limit,
20,000 characters of ``ftp://[`` take it 1.5 seconds."""

EXCERPT_LENGTH: Final = 280
"""Characters of an excerpt, at most."""

_EXCERPT_SOURCE: Final = 1_000
"""Characters that an excerpt is made from, so that its cost does not depend on the text."""

_EXCERPTS_MAX: Final = 2_000
"""Excerpts that are remembered, of a kilobyte each: the first hundred pages of a list, where making
them would take several times as long as reading the page."""


class _Markdown(MarkdownIt):
    """The renderer, with our own judgement of addresses."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return _ADDRESS.match(url) is not None


def _below_the_page(state: StateCore) -> None:
    """Move headings to the level that the page has for them."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            level = int(token.tag[1]) + state.env["headings_from"] - 1
            token.tag = f"h{min(level, 6)}"


def _renderer(*, finds_links: bool) -> _Markdown:
    options: Any = {
        "html": False,
        "linkify": finds_links,
        "breaks": True,
        "maxNesting": NESTING_MAX,
    }
    renderer = _Markdown("commonmark", options)
    renderer.enable(["linkify", "strikethrough"]).disable("image")
    renderer.core.ruler.after("block", "below_the_page", _below_the_page)
    assert renderer.linkify is not None
    # "see setup.py" and "e.g.so" are no links.
    renderer.linkify.set({"fuzzy_link": False, "fuzzy_email": False})
    # They would not be accepted, and looking for them takes long in a text that is made for it.
    renderer.linkify.add("ftp:", None).add("//", None)
    return renderer


_RENDERER: Final = _renderer(finds_links=True)
_FINDING_NO_LINKS: Final = _renderer(finds_links=False)


def html_of(text: str, *, headings_from: int) -> str:
    """Return the HTML of a text.

    Parameters:
        text: Markdown, as ``texts`` accepts it.
        headings_from: the level of the highest heading, 2 to 6: one below the heading that the
            page has above the text.
    """
    renderer = _RENDERER if text.count("://") <= LINKS_MAX else _FINDING_NO_LINKS
    rendered: str = renderer.render(text, {"headings_from": headings_from})
    return nh3.clean(
        rendered,
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        url_schemes=set(SCHEMES),
        url_relative="deny",
        link_rel=REL,
    )


# What a mark looks like in a text; only pairs are removed, so that 2*3 stays.
_MARKS: Final = (
    (re.compile(r"^[ \t]*(?:`{3,}|~{3,}).*$", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*(?:(?:#{1,6}|>|[-+*]|\d{1,9}[.)])[ \t]+)+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*[-=_*]{3,}[ \t]*$", re.MULTILINE), ""),
    (re.compile(r"!?\[([^\[\]]{1,200})\]\([^()]{0,500}\)"), r"\1"),
    (re.compile(r"(?<![\w\\])(\*{1,3}|_{1,3}|~~|`{1,2})(?=\S)(.{1,200}?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"\\([!-/:-@\[-`{-~])"), r"\1"),
)


def excerpt(text: str) -> str:
    """Return the beginning of a text as one line without Markdown's marks, cut between words."""
    return _excerpt(text[: _EXCERPT_SOURCE + 1])


@lru_cache(_EXCERPTS_MAX)
def _excerpt(beginning: str) -> str:
    line = beginning[:_EXCERPT_SOURCE]
    for mark, shown in _MARKS:
        line = mark.sub(shown, line)
    line = " ".join(line.split())
    if len(line) <= EXCERPT_LENGTH and len(beginning) <= _EXCERPT_SOURCE:
        return line
    cut = line[:EXCERPT_LENGTH]
    return f"{cut.rpartition(' ')[0] or cut}\u00a0…"
