"""Read the metrics and log events from docs/telemetry.md, which tests hold to the code. Pure."""

import re
from typing import Any, Final

_LOG_EVENTS: Final = "| log event |"
_METRIC: Final = re.compile(r"`((?:usersync|http)_[a-z_]+)(?:\{([a-z_,]+)\})?`")


def telemetry(text: str) -> dict[str, Any]:
    """Return the metrics with their labels, and the log events, that the document lists."""
    metrics, _, events = text.partition(_LOG_EVENTS)
    rows = re.findall(r"^\| (`.+?`) \|", events, re.MULTILINE)
    return {
        "metrics": {
            name: sorted(labels.split(",")) if labels else []
            for name, labels in sorted(_METRIC.findall(metrics))
        },
        "log_events": sorted({name for row in rows for name in re.findall(r"`([^`]+)`", row)}),
    }
