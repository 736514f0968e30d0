"""Check the English of everything that git tracks: no banned words, no long sentences.

``make check`` runs it. Each finding is ``file:line: word -> better``. The words are banned because
they made texts hard to read. Where one must stay, such as in a quotation, end its line with
``vocabulary: allow``. Only the documents that people read in a hurry have a limit on sentences.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

BETTER: Final = {
    r"he|his|him|himself|she|her|hers|herself": "they, or a noun: the user, the operator",
    r"whoever|whomever|whosoever": "anyone who; better, name them",
    r"whom": "who; better, name them",
    r"whatever": "any, all; better, name it",
    r"somebody": "someone; better, name them",
    r"nobody's": "no one's; better, name the owner",
    r"anew|afresh": "again",
    r"for ever": "permanently",
    r"(?:go|goes|going|went|gone) on"
    r"(?= (?:to|with|as|while|until|at|after|for)|[.,;:)]|$)": "continue",
    r"of before": "earlier, former",
    r"besides": "also",
    r"mend|mends|mended|mending": "fix, repair",
    r"shall": "must, will",
    r"(?:take|takes|taken|took) up(?! to\b|  )": "start",
    r"(?<!there )(?<!what )(?:is|are|was|were) no (?!longer\b|more\b|one\b)": "is not a, invalid",
    r"in vain": "without success",
    r"manners|polite(?!\")|politely": "name what the code does",
    r"legible": "readable, identifiable",
    r"lest|thereof|therein|wherein|whereupon|hitherto|henceforth|heretofore": "a plain word",
    r"farewell": "goodbye",
    r"odd(?: (?:values?|ones?))": "unexpected",
}
"""Patterns of whole words, each with what to write instead."""

_BANNED: Final = re.compile(
    "|".join(rf"(?P<_{n}>\b(?:{words})(?!\w))" for n, words in enumerate(BETTER)), re.IGNORECASE
)

_KINDS: Final = frozenset(
    {
        ".css",
        ".example",
        ".html",
        ".js",
        ".md",
        ".py",
        ".rst",
        ".sh",
        ".sql",
        ".toml",
        ".yaml",
        ".yml",
    }
)
_NAMES: Final = frozenset({"Makefile", "Dockerfile", ".editorconfig", "run"})
_NOT_OURS: Final = frozenset({"local/vocabulary.py"})
_MIGRATIONS: Final = ("migrations/auth/versions/", "migrations/blog/versions/")
"""A migration stays as it was when it first ran."""

_SHORT: Final = ("README.md", "docs/runbook.md")
WORDS_MAX: Final = 30
"""Words in one sentence of these documents."""


def main() -> None:
    """Print every finding; exit with 1 if there is one."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    found = [finding for name in sorted(filter(_is_checked, names)) for finding in _findings(name)]
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))


def _is_checked(name: str) -> bool:
    path = Path(name)
    return (
        (path.suffix in _KINDS or path.name in _NAMES)
        and name not in _NOT_OURS
        and not name.startswith(_MIGRATIONS)
        and (ROOT / path).exists()
    )


def _findings(name: str) -> Iterator[str]:
    text = (ROOT / name).read_text()
    yield from (f"{name}:{finding}" for finding in banned(text.splitlines()))
    if name in _SHORT:
        yield from (f"{name}:{finding}" for finding in long_sentences(text))


def banned(lines: Iterable[str]) -> Iterator[str]:
    """Yield ``line: word -> better`` for each banned word."""
    suggestions = list(BETTER.values())
    for number, line in enumerate(lines, 1):
        if "vocabulary: allow" in line:
            continue
        for match in _BANNED.finditer(line):
            assert match.lastgroup is not None, "every alternative is a named group"
            yield f"{number}: {match[0].strip()} -> {suggestions[int(match.lastgroup[1:])]}"


def long_sentences(markdown: str) -> Iterator[str]:
    """Yield ``line: beginning ... -> N words`` for each sentence of more than ``WORDS_MAX`` words.

    Code blocks do not count, and each cell of a table is a text of its own.
    """
    for number, text in _paragraphs(markdown):
        for sentence in re.split(r"(?<=[.!?:;])\s+(?=[^a-z])|(?<=[.!?])\s+", text):
            words = re.findall(r"[\w`][^\s]*", sentence)
            if len(words) > WORDS_MAX:
                yield f"{number}: {' '.join(words[:5])} ... -> {len(words)} words; split it"


def _paragraphs(markdown: str) -> Iterator[tuple[int, str]]:
    """Yield each paragraph, list item and cell with its line."""
    code, start, lines = False, 1, list[str]()
    for number, line in enumerate([*markdown.splitlines(), ""], 1):
        stripped = line.strip()
        if stripped.startswith("```"):
            code = not code
        is_code = code or stripped.startswith("```") or line.startswith("    ")
        is_item = re.match(r"([-*]|\d+\.) ", stripped)
        if lines and (not stripped or is_code or is_item or stripped.startswith(("|", "#"))):
            yield start, " ".join(lines)
            lines = []
        if stripped.startswith("#"):
            yield number, stripped
        elif stripped.startswith("|"):
            yield from ((number, cell) for cell in stripped.strip("|").split(" | "))
        elif stripped and not is_code:
            start = start if lines else number
            lines.append(stripped)


if __name__ == "__main__":
    main()
