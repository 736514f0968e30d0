"""Metrics that are read from a database; absent, not stale, while it does not respond."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import Gauge, Metric


class Reading(Gauge):
    """A gauge without labels that shows nothing until it is set, and once it is forgotten."""

    _is_known = False

    def set(self, value: float) -> None:
        """Show ``value``."""
        super().set(value)
        self._is_known = True

    def clear(self) -> None:
        """Forget the value."""
        self._is_known = False

    def collect(self) -> Iterable[Metric]:
        """Return the samples for Prometheus."""
        return super().collect() if self._is_known else ()


@contextmanager
def read_again(*gauges: Any) -> Iterator[None]:
    """Set ``gauges`` inside the block; if it fails or is cancelled, none of them has a value.

    Parameters:
        gauges: each a ``Reading``, or a gauge with labels, of which no child is left.
    """
    try:
        yield
    except BaseException:
        for gauge in gauges:
            gauge.clear()
        raise
