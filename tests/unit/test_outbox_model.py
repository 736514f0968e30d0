"""The outbox's state in one line, and durations as operators write them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from auth_service.outbox.model import InvalidDuration, parse_duration, pipe_status
from tests.support.refusals import refusal

WELL: dict[str, Any] = {
    "is_led": True,
    "trouble": None,
    "unpublished": 0,
    "oldest_age_seconds": 0.0,
    "heartbeat_age_seconds": 10.0,
    "heartbeat_seconds": 15.0,
    "now": datetime(2026, 1, 1, 12, tzinfo=UTC),
}


def test_a_duration_is_parsed() -> None:
    for text, length in (
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("999999d", timedelta(days=999_999)),
    ):
        assert parse_duration(text) == length, text


def test_an_invalid_duration_is_refused() -> None:
    """Nothing is guessed, and zero is too short."""
    for text in (
        *("", "30", "d", "0d", "-1d", "1.5d", "30 d", "30D", "30s", "1d12h"),
        *("1000000d", "\u0663d"),
    ):
        refused = refusal(InvalidDuration, parse_duration, text)
        assert "such as 30d, 12h or 90m" in str(refused)


def test_the_worst_problem_is_shown() -> None:
    """Broken before behind, behind before busy."""
    for figures, line in (
        ({}, "quiet"),
        ({"unpublished": 3, "oldest_age_seconds": 0.2}, "publishing"),
        (
            {"unpublished": 1_234, "oldest_age_seconds": 60.0},
            "behind: 1,234 events wait since 2026-01-01 11:59:00Z",
        ),
        ({"heartbeat_age_seconds": 45.0}, "quiet"),
        ({"heartbeat_age_seconds": 45.6}, "broken: no heartbeat for 46 s"),
        ({"heartbeat_age_seconds": 100.0, "heartbeat_seconds": 60.0}, "quiet"),
        ({"heartbeat_age_seconds": None}, "broken: no heartbeat yet"),
        (
            {"trouble": "the broker is away (ConnectionError)", "heartbeat_age_seconds": 100.0},
            "broken: the broker is away (ConnectionError)",
        ),
        (
            {"is_led": False, "trouble": "the broker is away", "unpublished": 3},
            "broken: no relay is active",
        ),
    ):
        assert pipe_status(**WELL | figures) == line, figures
