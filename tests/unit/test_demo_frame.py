"""Pictures, lines and recordings of the demonstration, made from figures alone."""

import json
from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree as ET

from rich.console import Console

from local.compare import Comparison
from local.demo.frame import frame
from local.demo.lines import figures_of, json_end_of, json_figures_of, json_of, line_of
from local.demo.recording import FRAMES_MAX, chosen, picture
from local.demo.scene import Moment, Mood, Scene
from local.watch import Proof, Sample
from replica.proof.model import State

BYTES_MAX = 60_000
"""Of a recording, which is loaded with the README."""

EQUAL = Proof(State.EQUAL, "proved 9 s ago: 1,392 users, 0 differ")
DIFFERS = Proof(
    State.DIFFERS,
    "proved 2 s ago: 1,392 users, 1 differ (1 corrupt: blog-service reconcile --repair)",
    (("corrupt", 1),),
)
PEOPLE = Moment(0.0, Mood.CALM, "people sign up, change their address, leave")
KILLED = Moment(6.0, Mood.BREAKS, "kill -9 4711: the consumer is down, sign-ups continue")
DAMAGED = Moment(
    15.2, Mood.BREAKS, "by SQL in the replica: one user's row is deleted, another's e-mail changed"
)
SCENE = Scene(
    seconds=8.3,
    now=Sample(1392, 1380, 12, 3, 28, EQUAL),
    behind=(0, 0, 1, 0, 3, 6, 9, 12),
    consumer_pid=None,
    counts={
        "sign-ups": 392,
        "first requests served at once": 391,
        "address changes": 180,
        "deletions": 33,
    },
    refused_after_ms=31.7,
    moments=(PEOPLE, KILLED),
)

NARROW = """\
╭──── two services, one truth  ·  ✖ broken  ·   8.3 s ─────╮
│                                                          │
│   auth       outbox      RabbitMQ     consumer    blog   │
│   1,392 ─▶     3     ─▶     28    ─▶    DEAD   ─▶ 1,380  │
│   users     waiting       queued      kill -9     users  │
│                                                          │
│  lag: 12 users behind   highest 12                       │
│                                                ··▁·▂▄▆█  │
│                                                          │
│  sign-ups  at once  changes  deletions  rejected         │
│  392       391      180      33         32 ms            │
│                                                          │
│    0.0 s  · people sign up, change their address, leave  │
│    6.0 s  ✖ kill -9 4711: the consumer is down,          │
│             sign-ups continue                            │
"""
"""The beginning of the picture in 60 columns."""


def drawn(scene: Scene, columns: int, **options: bool) -> str:
    console = Console(width=columns, file=StringIO(), **options)  # type: ignore[arg-type]
    with console.capture() as capture:
        console.print(frame(scene, columns))
    return capture.get()


def test_a_narrow_terminal_shows_all_figures() -> None:
    assert drawn(SCENE, 60).startswith(NARROW)
    assert "proved 9 s ago: 1,392 users, 0 differ" in drawn(SCENE, 60)


def test_every_picture_fits_its_terminal_and_has_the_same_height() -> None:
    """Else a live display jumps; with seven digits, too."""
    many = replace(
        SCENE,
        now=Sample(9_999_999, 9_999_999, 12, 999_999, None, DIFFERS),
        consumer_pid=4_194_304,
        counts=dict.fromkeys(SCENE.counts, 9_999_999) | {"surprises": 3},
        moments=tuple(replace(DAMAGED, seconds=float(second)) for second in range(30)),
    )
    for columns in (60, 75, 76, 80, 100, 200):
        heights = set()
        for scene in (SCENE, many, replace(SCENE, moments=(), behind=())):
            lines = drawn(scene, columns).splitlines()
            heights.add(len(lines))
            assert {len(line) for line in lines} == {min(columns, 100)}
            assert not [line for line in lines if "…" in line], columns
        assert len(heights) == 1


def test_what_is_broken_is_said_in_words() -> None:
    """Without colours, as NO_COLOR asks: a mark and a word for each mood."""
    words = {
        "in step": replace(SCENE, moments=(PEOPLE,), consumer_pid=4711),
        "✖ broken": SCENE,
        "1 differ": replace(SCENE, now=replace(SCENE.now, proof=DIFFERS)),
        "↻ healing": replace(SCENE, moments=(Moment(9, Mood.HEALS, "restarted"),)),
        "✔ proved": replace(SCENE, moments=(Moment(9, Mood.PROVED, EQUAL.text),)),
        "3 unexpected": replace(SCENE, counts={"surprises": 3}),
    }
    for word, scene in words.items():
        shown = drawn(scene, 80, force_terminal=True, no_color=True)
        assert word in shown
        assert "\x1b[3" not in shown  # no colour


def test_lines_have_the_same_figures_for_readers_and_for_scripts() -> None:
    assert line_of(KILLED) == f"  6.0 s  {KILLED.text}"
    assert "source 1,392 users, replica 1,380, behind 12" in figures_of(SCENE)
    assert json.loads(json_of(KILLED)) == {
        "event": "moment",
        "seconds": 6.0,
        "mood": "breaks",
        "text": KILLED.text,
    }
    figures = json.loads(json_figures_of(SCENE))
    assert figures["event"] == "figures"
    assert (figures["source_users"], figures["replica_users"], figures["behind"]) == (
        1392,
        1380,
        12,
    )
    assert (figures["sign_ups"], figures["consumer_pid"]) == (392, None)
    assert figures["proof"] == {"state": "equal", "text": EQUAL.text}
    end = json.loads(
        json_end_of(Comparison(1392, 33, []), SCENE, {"BLOG_URL": "http://b"}, is_proved=True)
    )
    assert end["event"] == "end"
    assert (end["users"], end["deleted"], end["differing"], end["proved"]) == (1392, 33, 0, True)


def test_a_recording_is_small_and_shows_every_event() -> None:
    """And the last frame to readers who want no motion."""
    moments = [PEOPLE, KILLED, DAMAGED, Moment(29.0, Mood.PROVED, EQUAL.text)]
    scenes = [
        replace(
            SCENE,
            seconds=tick / 5,
            now=replace(SCENE.now, source_users=1000 + tick, replica_users=900 + tick),
            behind=tuple(number % 17 for number in range(tick)),
            moments=tuple(each for each in moments if each.seconds <= tick / 5),
        )
        for tick in range(150)
    ]
    frames = chosen(scenes)
    svg = picture(scenes)

    assert len(frames) <= FRAMES_MAX
    assert {len(each.moments) for each in frames} == {1, 2, 3, 4}
    assert frames[-1] is scenes[-1]
    assert len(svg.encode()) < BYTES_MAX
    root = ET.fromstring(svg)
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"kill -9", "queued", EQUAL.text} <= texts
    assert "prefers-reduced-motion" in svg
