"""Turn what feeds hold into the plain text that the blog takes. Pure.

Guarantees: takes time in proportion to the text, however hostile that is.
"""

import re
import unicodedata
from html.parser import HTMLParser

LENGTH_MAX = 100_000
MARKS_IN_A_ROW_MAX = 30  # the blog's limit; composing takes time with the square of their number

_CONTROLS = re.compile(r"[\0-\b\v-\x1f\x7f-\x9f\ud800-\udfff]")
_TURNS_ROUND = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = ("script", "style", "template")
_PARAGRAPH = re.compile(
    "address|article|aside|blockquote|d[dlt]|div|fig(ure|caption)|footer|h[1-6r]|header|li|main|nav"
    "|[ou]l|p|pre|section|table|tr"
)
# Comments, declarations, and each "<" that nothing closes: HTMLParser would look for the end of
# every one up to the end of the text, which takes minutes for a hostile one of 50 KB.
_NO_TAG = re.compile(r"<!--.*?(?:-->|\Z)|<[!?][^<>]*>|<(?![^<>]*>)", re.DOTALL)


def plain(text: str) -> str:
    """Without what the blog refuses: control characters, those that turn the text round, towers."""
    text = unicodedata.normalize("NFC", _few_marks(re.sub(r"\r\n?", "\n", text[:LENGTH_MAX])))
    return _TURNS_ROUND.sub("", _CONTROLS.sub("", text)).strip()


def html_to_text(html: str) -> str:
    """The text of a piece of HTML, a blank line between its paragraphs."""
    text = _Text()
    text.feed(_NO_TAG.sub(_harmless, html[:LENGTH_MAX]))
    text.close()
    lines = (" ".join(line.split()) for line in "".join(text.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _few_marks(text: str) -> str:
    kept = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "M":
            marks += 1
        elif category != "Cf":
            marks = 0
        if marks <= MARKS_IN_A_ROW_MAX:
            kept.append(character)
    return "".join(kept)


def _harmless(no_tag: re.Match[str]) -> str:
    return "&lt;" if no_tag[0] == "<" else ""


class _Text(HTMLParser):
    """Collects the text between tags."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, _: object) -> None:
        self._hidden += tag in _INVISIBLE
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _INVISIBLE and self._hidden > 0
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data.replace("\n", " "))

    def _break(self, tag: str) -> None:
        if tag == "br":
            self.pieces.append("\n")
        elif _PARAGRAPH.fullmatch(tag):
            self.pieces.append("\n\n")
