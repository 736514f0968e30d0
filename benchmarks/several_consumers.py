"""Measure whether several consumers of one queue carry more than one does."""

from benchmarks import contestants
from benchmarks.figures import Figures, Section, medians
from benchmarks.scale import Scale
from benchmarks.stage import Stage
from benchmarks.whole_way import sustained

_HOW = """
The whole way as above, with one relay and one, two or three consumers of the same queue. The sum is
the CPU time by event of all processes and both servers. Where it stays the same, more consumers
carry more on a machine with idle cores.
"""

_CONSUMERS = (1, 2, 3)


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let one, two and three consumers take turns."""
    return Section(
        title="Several consumers",
        how=_HOW,
        figures=medians([await _round(stage, scale) for _ in range(scale.rounds)]),
        promises=[],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    figures: Figures = {}
    for number in _CONSUMERS:
        processes = {"relay": contestants.relay(stage)} | {
            f"consumer_{each}": contestants.consumer(stage) for each in range(number)
        }
        measured = await sustained(stage, processes, seconds=scale.whole_way_seconds, meters=True)
        spent = [value for name, value in measured.items() if name.endswith("_cpu_us_per_event")]
        figures[f"consumers_{number}_events_per_second"] = measured["events_per_second"]
        figures[f"consumers_{number}_cpu_us_per_event"] = sum(spent)
    return figures
