"""Show the results: a table on the terminal, ``.local/bench.json``, ``docs/benchmarks.md``."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figures, Promise, Section
from local.paths import LOCAL, ROOT

_FIGURES_FILE = LOCAL / "bench.json"
_PAGE = ROOT / "docs" / "benchmarks.md"

_INTRODUCTION = """
The promised bounds, and what one machine measured, written by `make bench`. Compare the ratios:
both sides of each ran in turns in the same run, and the median of {rounds} rounds is shown.
Absolute figures belong to this machine and its other work: load on its cores distorts latencies
first, and then the ratios of several processes to one.

[Where the time goes](limits.md) says why bounds are missed, what was tried, and how the figures
were before.
"""


def show(machine: dict[str, str], sections: Sequence[Section]) -> None:
    """Print the machine, the promises and the figures behind them."""
    console = Console()
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    promises = Table("promise", "bound", "measured", "met", title="Promises")
    figures = Table("figure", "value", title="Figures")
    for number in range(2):
        promises.columns[number + 1].justify = "right"
    figures.columns[1].justify = "right"
    for section in sections:
        for promise in section.promises:
            cells = _cells(promise, section.figures)
            style = None if promise.is_met(section.figures) else "bold red"
            promises.add_row(*cells, style=style, end_section=promise is section.promises[-1])
        for name, value in section.figures.items():
            figures.add_row(name, _number(value))
        figures.add_section()
    console.print(figures, promises)


def write_figures(machine: dict[str, str], sections: Sequence[Section]) -> None:
    """Write every figure to one flat JSON object, with the machine."""
    flat: dict[str, float | str | bool] = {"measured_at": _now(), **machine}
    for section in sections:
        flat |= section.figures
        for promise in section.promises:
            flat[f"{promise.figure}_is_met"] = promise.is_met(section.figures)
    _FIGURES_FILE.parent.mkdir(parents=True, exist_ok=True)
    _FIGURES_FILE.write_text(json.dumps(flat, indent=2) + "\n")


def write_page(machine: dict[str, str], sections: Sequence[Section], *, rounds: int) -> None:
    """Write the page with the results for readers."""
    lines = ["# Benchmarks", _INTRODUCTION.format(rounds=rounds)]
    lines += [f"Measured {_now()}.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in machine.items()]
    lines += ["", "| promise | bound | measured | met |", "|---|---:|---:|---|"]
    for section in sections:
        lines += [
            f"| {' | '.join(_cells(promise, section.figures))} |" for promise in section.promises
        ]
    for section in sections:
        lines += ["", f"## {section.title}", section.how, "| figure | median |", "|---|---:|"]
        lines += [f"| `{name}` | {_number(value)} |" for name, value in section.figures.items()]
    _PAGE.parent.mkdir(exist_ok=True)
    _PAGE.write_text("\n".join(lines) + "\n")


def _cells(promise: Promise, figures: Figures) -> tuple[str, str, str, str]:
    met = "yes" if promise.is_met(figures) else "no"
    return promise.words, promise.bound, _number(figures[promise.figure]), met


def _number(value: float) -> str:
    """Format a number with as many digits as are significant."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="minutes")
