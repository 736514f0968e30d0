"""Make a picture of a scene for a terminal, from ``WIDTH_MIN`` columns on. Pure.

Guarantees: no information is in colours alone; a picture has the same height for every scene, so
that a live display does not jump.
"""

from collections.abc import Sequence
from typing import Final

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local.demo.scene import Moment, Mood, Scene
from replica.proof.model import State

WIDTH_MIN: Final = 60
WIDTH_MAX: Final = 100
"""Wider pictures have their figures too far apart to be read together."""

MOMENTS_SHOWN: Final = 9
_MOMENT_LINES: Final = 11
"""Lines for the last events: some take two."""

_WIDE: Final = 76
"""Columns from which the stations of the pipe have their full names."""
_FRAME: Final = 6
"""Columns of the border and the padding."""

_BARS: Final = "·▁▂▃▄▅▆▇█"
_MARKS: Final = {Mood.CALM: "·", Mood.BREAKS: "✖", Mood.HEALS: "↻", Mood.PROVED: "✔"}
_STYLES: Final = {
    Mood.CALM: "",
    Mood.BREAKS: "bold red",
    Mood.HEALS: "yellow",
    Mood.PROVED: "bold green",
}
_BANNERS: Final = {
    Mood.CALM: "in step, under traffic",
    Mood.BREAKS: "broken",
    Mood.HEALS: "healing",
    Mood.PROVED: "proved",
}
_BORDERS: Final = {
    Mood.CALM: "cyan",
    Mood.BREAKS: "red",
    Mood.HEALS: "yellow",
    Mood.PROVED: "green",
}


def frame(scene: Scene, columns: int) -> Panel:
    """Return the picture for a terminal with so many columns."""
    width = min(columns, WIDTH_MAX)
    inside = width - _FRAME
    mood = scene.last.mood
    return Panel(
        Group(
            _pipe(scene, inside),
            Text(),
            *_lag(scene.behind, inside),
            Text(),
            _people(scene, inside),
            _surprises(scene.counts.get("surprises", 0)),
            *_moments(scene.moments, inside),
            Text(),
            _proof(scene, inside),
        ),
        title=f"two services, one truth  ·  {_MARKS[mood]} {_BANNERS[mood]}  ·"
        f"  {scene.seconds:4.1f} s",
        border_style=_BORDERS[mood],
        padding=(1, 2),
        width=width,
    )


def _pipe(scene: Scene, inside: int) -> Table:
    """Draw the path of an event, with a figure at each station."""
    now, pid = scene.now, scene.consumer_pid
    is_wide = inside + _FRAME >= _WIDE
    differ = sum(count for _, count in now.proof.kinds)
    stations = [
        ("auth_service" if is_wide else "auth", f"{now.source_users:,}", "users", False),
        ("outbox", f"{now.unpublished:,}", "unpublished" if is_wide else "waiting", False),
        ("RabbitMQ", "-" if now.queued is None else f"{now.queued:,}", "queued", False),
        ("consumer", str(pid) if pid else "DEAD", "pid" if pid else "kill -9", pid is None),
        (
            "blog_service" if is_wide else "blog",
            f"{now.replica_users:,}",
            f"{differ:,} differ" if differ else "users",
            differ > 0,
        ),
    ]
    pipe = Table.grid(padding=(0, 1 if is_wide else 0), expand=True)
    for _ in range(2 * len(stations) - 1):
        pipe.add_column(justify="center", no_wrap=True)
    for line, style in ((0, "bold"), (1, "cyan"), (2, "dim")):
        cells: list[Text] = []
        for *words, is_broken in stations:
            cells += [
                Text(words[line], style="bold red" if is_broken else style),
                Text("─▶" if line == 1 else ""),
            ]
        pipe.add_row(*cells[:-1])
    return pipe


def _lag(behind: Sequence[int], inside: int) -> tuple[Text, Text]:
    """Chart how many users the replica was behind, over time."""
    shown = behind[-inside:]
    highest = max(shown, default=0)
    now = shown[-1] if shown else 0
    bars = "".join(_BARS[0 if not each else 1 + 7 * each // max(highest, 1)] for each in shown)
    label = Text.assemble(
        "lag: ",
        (f"{now:,}", "bold green" if now < 10 else "bold yellow"),
        f" {'user' if now == 1 else 'users'} behind",
        (f"   highest {highest:,}", "dim"),
    )
    return label, Text(bars.rjust(inside), style="yellow")


def _people(scene: Scene, inside: int) -> Table:
    """Count what the simulated people did."""
    is_wide = inside + _FRAME >= _WIDE
    counts, after = scene.counts, scene.refused_after_ms
    figures = [
        ("sign-ups", f"{counts.get('sign-ups', 0):,}"),
        (
            "served at once" if is_wide else "at once",
            f"{counts.get('first requests served at once', 0):,}",
        ),
        ("address changes" if is_wide else "changes", f"{counts.get('address changes', 0):,}"),
        ("deletions", f"{counts.get('deletions', 0):,}"),
        ("rejected after" if is_wide else "rejected", "-" if after is None else f"{after:.0f} ms"),
    ]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row(*(Text(name, style="dim") for name, _ in figures))
    table.add_row(*(Text(value) for _, value in figures))
    return table


def _surprises(count: int) -> Text:
    """Say what went wrong for them; usually an empty line."""
    return Text(f"{count:,} unexpected responses" if count else "", style="bold red")


def _moments(moments: Sequence[Moment], inside: int) -> list[Text]:
    """Write the last events, each with its time, in a fixed number of lines."""
    lines: list[Text] = []
    for moment in reversed(moments[-MOMENTS_SHOWN:]):
        written = _written(moment, inside)
        if len(lines) + len(written) > _MOMENT_LINES:
            break
        lines = written + lines
    return [*lines, *(Text() for _ in range(_MOMENT_LINES - len(lines)))]


def _written(moment: Moment, inside: int) -> list[Text]:
    head = f"{moment.seconds:5.1f} s  {_MARKS[moment.mood]} "
    width, line, lines = inside - len(head), "", list[str]()
    for word in moment.text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    heads = [head, *(" " * len(head) for _ in lines)]
    style = _STYLES[moment.mood]
    return [
        Text(begin + rest, style=style) for begin, rest in zip(heads, [*lines, line], strict=True)
    ]


def _proof(scene: Scene, inside: int) -> Text:
    """Say what the service itself has proved of its copy; the remedy is in the status."""
    proof = scene.now.proof
    styles = {State.EQUAL: "bold green", State.DIFFERS: "bold red", State.UNKNOWN: "yellow"}
    text = Text(proof.text.partition(" (")[0], style=styles[proof.state])
    text.truncate(inside, overflow="ellipsis")
    return text
