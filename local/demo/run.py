"""The command of the demonstration: start the system, show it at work, leave it running.

It shows a live picture on a terminal of 60 columns or more, plain lines elsewhere, or JSON. Exit
code 1 if a user differs in the end.
"""

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import typer
from rich.console import Console
from rich.live import Live

from local import system
from local.addresses import Addresses, url
from local.compare import Comparison, compare
from local.demo.frame import WIDTH_MIN, frame
from local.demo.lines import figures_of, json_end_of, json_figures_of, json_of, line_of
from local.demo.play import Consumer, Play
from local.demo.recording import picture
from local.demo.scene import HISTORY_MAX, Mood, Scene, Story
from local.processes import BackgroundProcess
from local.progress import say
from local.traffic import Traffic
from local.watch import Watch

_SCENES_PER_SECOND: Final = 5
_LINE_EVERY_SECONDS: Final = 2.0


def run(*, as_json: bool = False, record: Path | None = None) -> None:
    """Start the system, show it at work, compare both tables, and leave the system running.

    Parameters:
        as_json: print one JSON object a line.
        record: a file to write an animated picture of this run to, as SVG.
    """
    addresses = system.up()
    console = Console()
    # As after Ctrl-C: the killed consumer is restarted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    consumer = system.process("consumer")
    with kept_running(consumer):
        scenes, comparison = asyncio.run(
            _show(addresses, consumer, console, as_json=as_json, keeps_all=record is not None)
        )
    is_proved = scenes[-1].last.mood is Mood.PROVED
    if record is not None:
        record.write_text(picture(scenes))
        say(f"recorded in {record}")
    if as_json:
        print(json_end_of(comparison, scenes[-1], addresses.urls(), is_proved=is_proved))
    else:
        _print_end(console, comparison, addresses.urls())
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
  break it      {blog}/console/break, with a stopwatch
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


async def _show(
    addresses: Addresses,
    consumer: Consumer,
    console: Console,
    *,
    as_json: bool,
    keeps_all: bool,
) -> tuple[list[Scene], Comparison]:
    """Play, show and compare; return the scenes, the last one or all, and the comparison."""
    traffic = Traffic(url(addresses.ports.auth), url(addresses.ports.blog))
    story = Story()
    scenes: deque[Scene] = deque(maxlen=None if keeps_all else 1)
    async with Watch.on(addresses) as watch:
        play = Play(story, traffic, watch, consumer, addresses.blog_database_url)
        with _shown(story, console, as_json=as_json) as show:
            running = asyncio.create_task(play.run())
            is_over = False
            while not is_over:
                await asyncio.wait([running], timeout=1 / _SCENES_PER_SECOND)
                is_over = running.done()
                scenes.append(scene_of(play))
                show(scenes[-1], is_over)
        await running
    return list(scenes), await compare(addresses.auth_database_url, addresses.blog_database_url)


@contextmanager
def _shown(
    story: Story, console: Console, *, as_json: bool
) -> Iterator[Callable[[Scene, bool], None]]:
    """Yield the function that shows a scene, and whether it is the last; events are shown too."""
    if not as_json and shows_pictures(console):
        with Live(console=console, auto_refresh=False) as live:
            yield lambda scene, _: live.update(frame(scene, console.width), refresh=True)
        return
    event, figures = (json_of, json_figures_of) if as_json else (line_of, figures_of)
    story.tell = lambda moment: _print(event(moment))
    last = 0.0

    def show(scene: Scene, is_over: bool) -> None:
        nonlocal last
        if is_over or scene.seconds >= last + _LINE_EVERY_SECONDS:
            last = scene.seconds
            _print(figures(scene))

    yield show


def shows_pictures(console: Console) -> bool:
    """Return whether the output is a terminal that can show a picture."""
    is_terminal = console.is_terminal and not console.is_dumb_terminal
    return is_terminal and console.width >= WIDTH_MIN


def scene_of(play: Play) -> Scene:
    """Return all figures of a demonstration as they are now."""
    watch, traffic = play.watch, play.traffic
    waits = traffic.refused_after_seconds
    return Scene(
        seconds=play.story.seconds,
        now=watch.latest,
        behind=tuple(sample.behind for sample in watch.history[-HISTORY_MAX:]),
        consumer_pid=play.consumer.pid,
        counts=dict(traffic.counts),
        refused_after_ms=1000 * median(waits) if waits else None,
        moments=tuple(play.story.moments),
    )


def _print(line: str) -> None:
    print(line, flush=True)


def _print_end(console: Console, comparison: Comparison, urls: Mapping[str, str]) -> None:
    console.print()
    for difference in comparison.differences[:20]:
        console.print(f"  {difference}", style="red", highlight=False, soft_wrap=True)
    style = "bold green" if not comparison.differing else "bold red"
    console.print(f"  {comparison}", style=style, highlight=False)
    console.print()
    console.print(what_next(urls), highlight=False, markup=False, soft_wrap=True)
