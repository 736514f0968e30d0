"""The demonstration: users sign up, change and leave; finally both tables agree.

Meanwhile the consumer is killed and restarted. The demonstration reads both sides from outside the
services, and shows a diagram on a terminal, plain lines elsewhere. Exit code 1 if a user differs.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local import system
from local.addresses import Addresses, url
from local.compare import Comparison, compare
from local.errors import LocalError
from local.processes import BackgroundProcess
from local.progress import say
from local.traffic import Traffic
from local.watch import Sample, Watch

TRAFFIC_SECONDS: Final = 24.0
KILL_AT_SECONDS: Final = 8.0
RESTART_AT_SECONDS: Final = 15.0
CATCH_UP_SECONDS_MAX: Final = 20.0

_PICTURES_PER_SECOND: Final = 5
_LINE_EVERY_SECONDS: Final = 2.0
_CHART_WIDTH: Final = 68
_BARS: Final = " ▁▂▃▄▅▆▇█"


@dataclass
class Story:
    """The events so far, each with its time in seconds since the start."""

    started: float = field(default_factory=time.monotonic)
    moments: list[tuple[float, str]] = field(default_factory=list)
    tell: Callable[[str], None] = lambda _: None

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def note(self, moment: str) -> None:
        """Record an event that happened just now."""
        self.moments.append((self.seconds, moment))
        self.tell(f"{self.seconds:5.1f} s  {moment}")


def run() -> None:
    """Start the system, show it at work, compare both tables, and leave the system running."""
    addresses = system.up()
    console = Console()
    # As after Ctrl-C: the killed consumer is restarted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with kept_running(system.process("consumer")):
        comparison = asyncio.run(_show(addresses, console))
    console.print()
    for difference in comparison.differences[:20]:
        console.print(f"  {difference}", style="red", highlight=False, soft_wrap=True)
    style = "bold green" if not comparison.differing else "bold red"
    console.print(f"  {comparison}", style=style, highlight=False)
    console.print()
    console.print(what_next(addresses.urls()), highlight=False, markup=False, soft_wrap=True)
    if comparison.differing:
        raise typer.Exit(1)


def what_next(urls: Mapping[str, str]) -> str:
    """Say where the running system is, and what to do with it.

    Parameters:
        urls: the base URLs of the processes, by the names of `Addresses.urls`.
    """
    blog = urls["BLOG_URL"]
    admin = ".venv/bin/auth-service users create-admin you@example.org --role operator"
    return f"""\
The system keeps running.

  the page      {blog}/            sign up there
  the console   {blog}/console     for operators; this makes you one:
                eval "$(make env)" && {admin}
  next          README.md has the same with curl, and how to damage and repair the copy
  also          make status, make logs, make down"""


@contextmanager
def kept_running(process: BackgroundProcess) -> Iterator[None]:
    """Ensure that the process runs after the block, even after Ctrl-C."""
    try:
        yield
    finally:
        if process.start():
            say(f"starting {' '.join(process.command)} again")


async def _show(addresses: Addresses, console: Console) -> Comparison:
    consumer = system.process("consumer")
    traffic = Traffic(url(addresses.ports.auth), url(addresses.ports.blog))
    story = Story()
    async with Watch.on(addresses) as watch:
        running = asyncio.create_task(_play(story, traffic, consumer, watch))
        if console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                while not running.done():
                    live.update(_picture(story, traffic, watch, consumer), refresh=True)
                    await asyncio.sleep(1 / _PICTURES_PER_SECOND)
                live.update(_picture(story, traffic, watch, consumer), refresh=True)
        else:
            story.tell = lambda line: console.print(line, highlight=False, soft_wrap=True)
            while not running.done():
                await asyncio.wait([running], timeout=_LINE_EVERY_SECONDS)
                story.tell(f"{story.seconds:5.1f} s    {_line(traffic, watch)}")
        await running
    return await compare(addresses.auth_database_url, addresses.blog_database_url)


async def _play(story: Story, traffic: Traffic, consumer: BackgroundProcess, watch: Watch) -> None:
    """Play traffic, a kill, a restart, the end of traffic, and catching up."""
    story.note("people sign up, change their address, leave")
    people = asyncio.create_task(traffic.run())
    try:
        await asyncio.sleep(KILL_AT_SECONDS)
        story.note(f"kill -9 {consumer.pid}: the consumer is down, sign-ups continue")
        await asyncio.to_thread(consumer.kill)
        await asyncio.sleep(RESTART_AT_SECONDS - story.seconds)
        behind = watch.latest.behind
        await asyncio.to_thread(consumer.start)
        story.note(f"the consumer is restarted, {behind:,} users behind")
        await asyncio.to_thread(consumer.wait_until_ready)
        await _caught_up(watch, "it has caught up with the source", story, at_most=10)
        traffic.refused_after_seconds.clear()  # the times of the pause would hide the usual figure
        await asyncio.sleep(max(0.0, TRAFFIC_SECONDS - story.seconds))
    finally:
        traffic.stop()
        await people
    story.note("traffic has ended")
    await _caught_up(watch, "no event is on its way any more", story, at_most=0)


async def _caught_up(watch: Watch, moment: str, story: Story, *, at_most: int) -> None:
    """Wait until at most ``at_most`` users are behind; under traffic a few always are."""
    deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
    while (await watch.next()).behind > at_most:
        if time.monotonic() > deadline:
            raise LocalError(
                f"The replica did not catch up in {CATCH_UP_SECONDS_MAX:.0f} s; see make logs."
            )
    story.note(moment)


def _picture(story: Story, traffic: Traffic, watch: Watch, consumer: BackgroundProcess) -> Panel:
    now = watch.latest
    return Panel(
        Group(
            _pipe(now, consumer),
            Text(),
            _chart(watch.history),
            Text(),
            _counts(traffic),
            Text(),
            *(Text(f"{when:6.1f} s  {moment}") for when, moment in story.moments),
        ),
        title=f"two services, one truth  ·  {story.seconds:4.1f} s",
        border_style="cyan",
        padding=(1, 2),
        width=80,
    )


def _pipe(now: Sample, consumer: BackgroundProcess) -> Table:
    """Draw the path of an event, with a figure at each stage."""
    pid = consumer.pid
    pipe = Table.grid(padding=(0, 1), expand=True)
    stations = [
        ("auth_service", f"{now.source_users:,}", "users"),
        ("outbox", f"{now.unpublished:,}", "unpublished"),
        ("RabbitMQ", "-" if now.queued is None else f"{now.queued:,}", "queued"),
        ("consumer", str(pid) if pid else "DEAD", "pid" if pid else "kill -9"),
        ("blog_service", f"{now.replica_users:,}", "users"),
    ]
    for _ in range(2 * len(stations) - 1):
        pipe.add_column(justify="center")
    for line, style in ((0, "bold"), (1, "cyan"), (2, "dim")):
        cells: list[Text] = []
        for station in stations:
            is_dead = station[0] == "consumer" and pid is None
            cells += [
                Text(station[line], style="bold red" if is_dead else style),
                Text("─▶" if line == 1 else ""),
            ]
        pipe.add_row(*cells[:-1])
    return pipe


def _chart(history: list[Sample]) -> Group:
    """Chart how many users the replica was behind, over time."""
    shown = history[-_CHART_WIDTH:]
    highest = max((sample.behind for sample in shown), default=0)
    bars = "".join(
        _BARS[0 if not sample.behind else 1 + 7 * sample.behind // max(highest, 1)]
        for sample in shown
    )
    behind = shown[-1].behind if shown else 0
    label = Text.assemble(
        "users behind  ",
        (f"{behind:,}", "bold green" if behind < 10 else "bold yellow"),
        (f"   highest {highest:,}", "dim"),
    )
    return Group(label, Text(bars or " ", style="yellow"))


def _counts(traffic: Traffic) -> Table:
    counts = Table.grid(padding=(0, 3))
    names = ("sign-ups", "first requests served at once", "address changes", "deletions")
    counts.add_row(*(Text(name, style="dim") for name in (*names, "rejected after")))
    counts.add_row(*(f"{traffic.counts[name]:,}" for name in names), _refused_after(traffic))
    if traffic.counts["surprises"]:
        counts.add_row(
            Text(f"{traffic.counts['surprises']} unexpected responses", style="bold red")
        )
    return counts


def _refused_after(traffic: Traffic) -> str:
    """Return how soon the blog rejects the token of a deleted account."""
    waits = traffic.refused_after_seconds
    return f"{1000 * median(waits):.0f} ms" if waits else "-"


def _line(traffic: Traffic, watch: Watch) -> str:
    now = watch.latest
    return (
        f"source {now.source_users:,} users, replica {now.replica_users:,}, behind {now.behind:,}"
        f" (unpublished {now.unpublished:,}, queued {'-' if now.queued is None else now.queued});"
        f" deleted accounts rejected after {_refused_after(traffic)};"
        f" {traffic.counts['surprises']} unexpected responses"
    )
