"""Make an animated SVG of a run's scenes, for pages that show no terminal. Pure.

Guarantees: the picture needs no script and no font from elsewhere; a reader who wants no motion
sees the last frame; what frames have in common is written once, which keeps it small.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from local.demo.frame import frame
from local.demo.scene import Scene

COLUMNS: Final = 80
FRAMES_MAX: Final = 20
"""So that the file stays under 60 KB: it is loaded with the README."""
_SECONDS_PER_FRAME: Final = 1.0
_LAST_SECONDS: Final = 6.0
"""How long the last frame stays."""

_CELL: Final = (8.0, 17.0)
"""Width and height of a character, in pixels, at a font of 13.3 pixels."""
_MARGIN: Final = 12.0
_BASELINE: Final = 13.0

_COLOURS: Final = {
    "red": "#ff7b72",
    "green": "#56d364",
    "yellow": "#e3b341",
    "cyan": "#56d4dd",
}
_TEXT: Final = "#e6edf3"
_DIM: Final = "#8b949e"
_BACKGROUND: Final = "#0d1117"

_PHRASE: Final = re.compile(r"\S+(?: \S+)*")
"""Words with single blanks between them; wider gaps are not written."""


def picture(scenes: Sequence[Scene]) -> str:
    """Return the SVG of a run, from its first scene to its last."""
    rows = [_rows(scene) for scene in chosen(scenes)]
    frames = [
        [text for line, row in enumerate(each) for text in _texts(row, line)] for each in rows
    ]
    starts = [number * _SECONDS_PER_FRAME for number in range(len(frames))]
    total = starts[-1] + _LAST_SECONDS
    ends = [*starts[1:], total]
    groups: dict[tuple[int, int], list[str]] = defaultdict(list)
    for text in dict.fromkeys(itertools.chain.from_iterable(frames)):
        for first, last in _stretches([text in each for each in frames]):
            groups[first, last].append(text)
    return _TEMPLATE.format(
        width=f"{COLUMNS * _CELL[0] + 2 * _MARGIN:g}",
        height=f"{max(map(len, rows)) * _CELL[1] + 2 * _MARGIN:g}",
        background=_BACKGROUND,
        text=_TEXT,
        rules="".join(
            _rules(first, last, starts[first] / total, ends[last] / total, total, len(frames))
            for first, last in groups
            if (first, last) != (0, len(frames) - 1)
        ),
        groups="\n".join(
            f'<g class="f{first}-{last}">{"".join(texts)}</g>'
            for (first, last), texts in groups.items()
        ),
    )


def chosen(scenes: Sequence[Scene]) -> list[Scene]:
    """Choose the scenes of the picture: one soon after each event, others at equal distances."""
    last = len(scenes) - 1
    events = [
        number
        for number in range(1, len(scenes))
        if len(scenes[number].moments) > len(scenes[number - 1].moments)
    ]
    left = max(FRAMES_MAX - len(events) - 1, 0)
    between = [round(number * last / (left + 1)) for number in range(left + 1)]
    return [scenes[number] for number in sorted({*events, *between, last})[-FRAMES_MAX:]]


def _rows(scene: Scene) -> list[list[Segment]]:
    console = Console(
        width=COLUMNS, color_system="standard", force_terminal=True, legacy_windows=False
    )
    lines = console.render_lines(frame(scene, COLUMNS), pad=False)
    return [list(Segment.simplify(line)) for line in lines]


def _texts(row: Iterable[Segment], line: int) -> Iterable[str]:
    """Write a row as elements of text, one for each word or phrase in one style."""
    column = 0
    for segment in row:
        for match in _PHRASE.finditer(segment.text):
            x = _MARGIN + (column + match.start()) * _CELL[0]
            y = _MARGIN + line * _CELL[1] + _BASELINE
            words = match[0]
            # So that the columns meet in any font.
            length = f' textLength="{len(words) * _CELL[0]:g}"' if len(words) > 1 else ""
            look = _look(segment.style)
            yield f'<text x="{x:g}" y="{y:g}"{length}{look}>{escape(words, quote=False)}</text>'
        column += len(segment.text)


def _stretches(shown: Sequence[bool]) -> Iterable[tuple[int, int]]:
    """Yield the first and the last frame of each stretch of frames in which something is shown."""
    number = 0
    for is_shown, stretch in itertools.groupby(shown):
        length = len(list(stretch))
        if is_shown:
            yield number, number + length - 1
        number += length


def _look(style: Style | None) -> str:
    if style is None:
        return ""
    colour = _COLOURS.get(style.color.name) if style.color else _DIM if style.dim else None
    fill = f' fill="{colour}"' if colour else ""
    return f'{fill} font-weight="700"' if style.bold else fill


def _rules(first: int, last: int, begin: float, end: float, total: float, frames: int) -> str:
    """Write the rules by which a group is visible in some frames alone."""
    name = f"f{first}-{last}"
    steps = [f"0%{{visibility:{'visible' if first == 0 else 'hidden'}}}"]
    if first > 0:
        steps.append(f"{begin:.3%}{{visibility:visible}}")
    if last < frames - 1:
        steps.append(f"{end:.3%}{{visibility:hidden}}")
    still = "" if last == frames - 1 else f".{name}{{visibility:hidden}}"
    return (
        f"@keyframes {name}{{{''.join(steps)}}}{still}"
        f"@media (prefers-reduced-motion:no-preference)"
        f"{{.{name}{{animation:{name} {total:g}s step-end infinite}}}}\n"
    )


_TEMPLATE: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>make demo: a crash, damaged rows, and the proof that both tables agree</title>
<style>
svg{{font:13.3px ui-monospace,Menlo,Consolas,monospace;fill:{text};white-space:pre}}
{rules}</style>
<rect width="100%" height="100%" rx="8" fill="{background}"/>
{groups}
</svg>
"""
