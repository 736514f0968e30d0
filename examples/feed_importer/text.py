"""Turn the texts of feeds into plain text that the blog accepts. Pure.

Guarantees: the time is proportional to the text, even if that is hostile.
"""

import re
import unicodedata

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig

LENGTH_MAX = 100_000
MARKS_IN_A_ROW_MAX = 30  # the blog's limit; normalising takes time with the square of their number

_CONTROLS = re.compile(r"[\0-\b\v-\x1f\x7f-\x9f\ud800-\udfff]")
_BIDIRECTIONAL = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_AMPERSAND = re.compile(r"&(amp|#0*38|#x0*26);", re.IGNORECASE)
_LAYOUT = ParserConfig(css=CSS_PROFILES["strict"])
# Comments, declarations, and each "<" without a ">", which is plain text.
_NO_TAG = re.compile(r"<!--.*?(?:-->|\Z)|<[!?][^<>]*>|<(?![^<>]*>)", re.DOTALL)


def plain(text: str) -> str:
    """Remove what the blog rejects: control and bidirectional characters, stacked marks."""
    text = unicodedata.normalize("NFC", _few_marks(re.sub(r"\r\n?", "\n", text[:LENGTH_MAX])))
    return _BIDIRECTIONAL.sub("", _CONTROLS.sub("", text)).strip()


def html_to_text(html: str) -> str:
    """Return the text of a piece of HTML, laid out as a browser shows it."""
    html = _NO_TAG.sub(_harmless, _CONTROLS.sub("", html[:LENGTH_MAX]))
    # The library decodes twice: &amp;lt; must become &lt;, not <.
    text = get_text(_AMPERSAND.sub("&amp;amp;", html), _LAYOUT)
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


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
