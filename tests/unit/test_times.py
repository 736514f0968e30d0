"""People see every time in one form; scripts get another."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from service_kit.process.terminal import instant, show
from service_kit.process.times import time_text

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 1, 31, 12, 0, 0, 250_000, UTC)


def test_a_time_is_shown_in_utc_and_can_be_typed_again() -> None:
    abroad = NOON.astimezone(timezone(timedelta(hours=-5)))
    assert time_text(abroad) == "2026-01-31 12:00:00Z"
    assert instant(time_text(abroad)) == NOON.replace(microsecond=0)


def test_figures_show_it_and_their_json_has_rfc_3339(capsys: pytest.CaptureFixture[str]) -> None:
    show({"at": NOON, "times": [NOON]}, as_json=False)
    show({"at": NOON}, as_json=True)
    at, times, as_json = capsys.readouterr().out.splitlines()
    assert at.split(maxsplit=1) == ["at", "2026-01-31 12:00:00Z"]
    assert times.split(maxsplit=1) == ["times", "2026-01-31 12:00:00Z"]
    assert json.loads(as_json) == {"at": "2026-01-31T12:00:00.250000Z"}


def test_no_command_formats_a_time_itself() -> None:
    """Times of day have one form because one function makes it."""
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in ("auth_service", "blog_service", "contracts", "replica", "service_kit")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "times.py"
        for line in path.read_text().splitlines()
        if re.search(r"strftime\(|%[FTR]\b|%H:", line)
    ]
    assert found == []
