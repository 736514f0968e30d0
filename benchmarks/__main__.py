"""``python -m benchmarks``: measure the claims, print the results and store them."""

import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer
import uvloop

from benchmarks import (
    apply,
    burst,
    importing,
    keeping_digests,
    latency,
    naming,
    page,
    passwords,
    posts,
    proof,
    proof_under_traffic,
    reconcile,
    relay,
    replay,
    several_consumers,
    tokens,
    traces,
    urgent,
    whole_way,
)
from benchmarks.figures import Section
from benchmarks.machine import machine, other_work
from benchmarks.processes import CommandFailed, DidNotStart
from benchmarks.report import show, write_figures, write_page
from benchmarks.scale import DEFAULT, LONG, QUICK, Scale
from benchmarks.stage import Stage, declare_names, staged
from benchmarks.waiting import TooSlow
from local.environment import refuse_others_exports
from local.errors import LocalError
from local.progress import say

Measurement = Callable[[Stage, Scale], Awaitable[Section]]

MEASUREMENTS: dict[str, Measurement] = {
    "relay": relay.measure,
    "apply": apply.measure,
    "traces": traces.measure,
    "whole-way": whole_way.measure,
    "several-consumers": several_consumers.measure,
    "latency": latency.measure,
    "burst": burst.measure,
    "urgent": urgent.measure,
    "passwords": passwords.measure,
    "tokens": tokens.measure,
    "posts": posts.measure,
    "page": page.measure,
    "reconcile": reconcile.measure,
    "replay": replay.measure,
    "importing": importing.measure,
    "proof": proof.measure,
    "naming": naming.measure,
    "keeping-digests": keeping_digests.measure,
    "proof-under-traffic": proof_under_traffic.measure,
}

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: python -m benchmarks --quick relay apply")
def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Which ones: {', '.join(MEASUREMENTS)}.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="A look in a minute; proves little.")] = False,
    long: Annotated[bool, typer.Option(help="A million events the whole way as well.")] = False,
) -> None:
    """Measure the promised speeds beside peers and limits in the same run.

    A complete run writes the figures in .local/; unless it is quick, also the page in docs/.
    """
    unknown = set(names or ()) - MEASUREMENTS.keys()
    if unknown:
        raise typer.BadParameter(f"no measurement is called {', '.join(sorted(unknown))}")
    # As after Ctrl-C: end the processes and remove what was created.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scale = QUICK if quick else LONG if long else DEFAULT
    sections: list[Section] = []
    try:
        refuse_others_exports()
        with staged() as stage:
            chosen = names or list(MEASUREMENTS)
            about = uvloop.run(_measure(stage, scale, chosen, sections))
    except (LocalError, CommandFailed, DidNotStart, TooSlow) as error:
        show({}, sections)  # what was measured before costs half an hour
        typer.secho(str(error), err=True, fg="red")
        raise typer.Exit(1) from None
    show(about, sections)
    if not names:
        write_figures(about | {"run": "quick" if quick else "whole"}, sections)
    if not (names or quick):
        write_page(about, sections, rounds=scale.rounds)


async def _measure(
    stage: Stage, scale: Scale, names: Sequence[str], sections: list[Section]
) -> dict[str, str]:
    """Append what ``names`` measure to ``sections``; return a description of the machine."""
    about = await machine(stage)
    before = other_work()
    await declare_names(stage)
    for name in names:
        started = time.monotonic()
        sections.append(await MEASUREMENTS[name](stage, scale))
        say(f"{name}: {time.monotonic() - started:.0f} s")
    about["cores busy with other work"] = f"{before:.0f} % before, {other_work():.0f} % after"
    return about


if __name__ == "__main__":
    app()
