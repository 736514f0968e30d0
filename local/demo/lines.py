"""Tell the demonstration in lines: for a reader without a terminal, or as JSON for a script. Pure.

Guarantees: each line of JSON is one object with ``event`` and ``seconds``.
"""

import json
from collections.abc import Mapping

from local.compare import Comparison
from local.demo.scene import Moment, Scene


def line_of(moment: Moment) -> str:
    """Write an event."""
    return f"{moment.seconds:5.1f} s  {moment.text}"


def figures_of(scene: Scene) -> str:
    """Write the figures of a scene."""
    now, after = scene.now, scene.refused_after_ms
    return (
        f"{scene.seconds:5.1f} s    "
        f"source {now.source_users:,} users, replica {now.replica_users:,}, behind {now.behind:,}"
        f" (unpublished {now.unpublished:,}, queued {'-' if now.queued is None else now.queued});"
        f" deleted accounts rejected after {'-' if after is None else f'{after:.0f} ms'};"
        f" {scene.counts.get('surprises', 0)} unexpected responses; {now.proof.text}"
    )


def json_of(moment: Moment) -> str:
    """Write an event as JSON."""
    return _object("moment", moment.seconds, mood=moment.mood, text=moment.text)


def json_figures_of(scene: Scene) -> str:
    """Write the figures of a scene as JSON."""
    now = scene.now
    return _object(
        "figures",
        scene.seconds,
        source_users=now.source_users,
        replica_users=now.replica_users,
        behind=now.behind,
        unpublished=now.unpublished,
        queued=now.queued,
        consumer_pid=scene.consumer_pid,
        rejected_after_ms=None if scene.refused_after_ms is None else round(scene.refused_after_ms),
        proof={"state": now.proof.state, "text": now.proof.text},
        **{name.replace(" ", "_").replace("-", "_"): each for name, each in scene.counts.items()},
    )


def json_end_of(
    comparison: Comparison, scene: Scene, urls: Mapping[str, str], *, is_proved: bool
) -> str:
    """Write the result as JSON: both tables compared, and where the system goes on running."""
    return _object(
        "end",
        scene.seconds,
        users=comparison.users,
        deleted=comparison.deleted,
        differing=comparison.differing,
        proved=is_proved,
        proof=scene.now.proof.text,
        urls=dict(urls),
    )


def _object(event: str, seconds: float, **figures: object) -> str:
    return json.dumps({"event": event, "seconds": round(seconds, 1), **figures})
