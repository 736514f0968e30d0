"""The ids that docs/telemetry.md promises for log lines, to compare real lines with."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from structlog.contextvars import merge_contextvars
from structlog.typing import Processor

ROOT: Final = Path(__file__).parents[2]

OF_REQUESTS: Final = frozenset({"request_id", "trace_id"})
"""What every line of a request has."""

IN_CONTEXT: Final[tuple[Processor, ...]] = (merge_contextvars,)
"""For ``capture_logs``: lines with what their request has bound, as in a process's log."""


def promised() -> dict[str, frozenset[str]]:
    """The ids of each log event, by the table."""
    text = (ROOT / "docs/telemetry.md").read_text()
    table = text.partition("| log event | ids |")[2].partition("\n\n")[0]
    return {
        event: frozenset(re.findall(r"`(\w+)`", ids))
        for events, ids in re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE)
        for event in re.findall(r"`([^`]+)`", events)
    }


def assert_has_ids(lines: Sequence[Mapping[str, Any]], event: str, **values: object) -> None:
    """Check that there are lines of ``event``, each with the promised ids and no address.

    Parameters:
        lines: log lines.
        event: the log event.
        values: what ids must be, as far as the test knows.
    """
    found = [line for line in lines if line["event"] == event]
    assert found, f"no {event} in {[line['event'] for line in lines]}"
    for line in found:
        assert promised()[event] <= {name for name, value in line.items() if value}, line
        assert {name: line[name] for name in values} == {
            name: str(value) for name, value in values.items()
        }
        assert "@" not in str(line)
