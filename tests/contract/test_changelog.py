"""The changelog has a section for the version, in the form of Keep a Changelog."""

import re
from datetime import date
from pathlib import Path

from service_kit.process.version import VERSION

CHANGELOG = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_newest_section_is_that_of_the_version() -> None:
    """Changes since then are above it, under *Unreleased*."""
    first, *released = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert first == "Unreleased"
    for heading in released:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", heading), heading
    versions = [heading.split(" - ")[0] for heading in released]
    assert versions[0] == VERSION
    days = [date.fromisoformat(heading.split(" - ")[1]) for heading in released]
    assert days == sorted(days, reverse=True)


def test_a_section_says_what_kind_its_changes_are() -> None:
    sections = re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]
    for section in sections:
        kinds = re.findall(r"^### (\w+)", section, re.MULTILINE)
        assert set(kinds) <= KINDS, section.splitlines()[0]
