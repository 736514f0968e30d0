"""Report the progress of long work on standard error.

Guarantees: silent for the first two seconds; on a terminal one line that is rewritten, elsewhere a
plain line every few seconds; nothing on standard output, which is for the result.
"""

import sys
import time
from typing import Final

SILENT_SECONDS: Final = 2.0
LINE_EVERY_SECONDS: Final = 5.0
_TERMINAL_EVERY_SECONDS: Final = 0.2


class Progress:
    """Progress of work of a known size, or of an unknown one (``total`` None).

    ``is_quiet`` prints nothing, for work without an audience.
    """

    def __init__(self, what: str, total: int | None = None, *, is_quiet: bool = False) -> None:
        self._what = what
        self._is_quiet = is_quiet
        self.total = total
        self._done = 0
        self._began = time.monotonic()
        self._told = self._began + SILENT_SECONDS
        self._is_terminal = sys.stderr.isatty()
        self._wrote = False

    def advance(self, by: int) -> None:
        """Count ``by`` more items as done, and report if it is time."""
        self._done += by
        now = time.monotonic()
        every = _TERMINAL_EVERY_SECONDS if self._is_terminal else LINE_EVERY_SECONDS
        if now >= self._told and not self._is_quiet:
            self._told = now + every
            self._write(now)

    def say(self, line: str) -> None:
        """Print a line of its own, also if progress is quiet."""
        self.end()
        print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the terminal's line."""
        if self._wrote and self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _write(self, now: float) -> None:
        rate = self._done / max(now - self._began, 1e-9)
        line = f"{self._what}: {self._done:,}"
        if self.total:
            left = max(self.total - self._done, 0) / rate if rate else float("inf")
            line += f" of {self.total:,}, {rate:,.0f} a second, {left:,.0f} s left"
        else:
            line += f", {rate:,.0f} a second"
        if self._is_terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
        self._wrote = True
