"""The documents name tests and files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def test_every_test_that_keeps_an_invariant_exists() -> None:
    """A promise whose test was renamed or dropped is a promise that nobody keeps."""
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", (ROOT / "ARCHITECTURE.md").read_text()))
    files = {path.name: path.read_text() for path in ROOT.glob("tests/**/test_*.py")}
    functions = {name for text in files.values() for name in re.findall(r"def (test_\w+)\(", text)}

    assert named, "the table of invariants is gone"
    assert named <= functions | files.keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """A link inside the repository points to a file or folder that is there."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())

    missing = [link for link in links if not (document.parent / link).exists()]

    assert not missing
