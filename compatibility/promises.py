"""All that this checkout promises, and the files with what the last release promised.

A folder ``contracts/released/<version>`` has one JSON file for each part. There is one such folder.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from compatibility import events, http, operations
from compatibility.change import Change
from compatibility.collect import openapi
from compatibility.collect.commands import commands
from compatibility.collect.settings import settings
from compatibility.collect.telemetry import telemetry
from contracts.events import asyncapi
from service_kit.process.version import VERSION

ROOT: Final = Path(__file__).parents[1]
EVENTS: Final = ROOT / "contracts/events"
RELEASED: Final = ROOT / "contracts/released"
ACCEPTED_BREAKS: Final = RELEASED / "accepted-breaks"

Promises = dict[str, dict[str, Any]]
"""By part: ``events`` (AsyncAPI), each service (OpenAPI), ``operations``."""

_EVENTS: Final = "events"
_OPERATIONS: Final = "operations"

ACCEPTED_BREAKS_START: Final = """\
# Breaks of what the last release promised that a maintainer accepted, one a line:
# the sentence of `python -m compatibility check`, then " because " and the reason.
# A release empties this file; each line belongs in the changelog.
"""


class NotReleased(Exception):
    """There is no folder of the last release, or there are several; the message says what to do."""


def present() -> Promises:
    """Read what the code promises now."""
    return {
        _EVENTS: _embedded(asyncapi.document(EVENTS / "examples")),
        **openapi.documents(),
        _OPERATIONS: {
            "commands": commands(),
            "settings": settings(),
            **telemetry((ROOT / "docs/telemetry.md").read_text()),
        },
    }


def released() -> tuple[str, Promises]:
    """Read the last release's version and promises."""
    folders = [path for path in RELEASED.glob("*") if path.is_dir()]
    if len(folders) != 1:
        raise NotReleased(
            f"{RELEASED.relative_to(ROOT)} has {len(folders)} folders of a release: there must be"
            " one; restore it from git"
        )
    parts = {path.stem: json.loads(path.read_text()) for path in folders[0].glob("*.json")}
    return folders[0].name, parts


def release() -> None:
    """Make what the code promises now the promise of the last release, which is this version."""
    for folder in (path for path in RELEASED.glob("*") if path.is_dir()):
        shutil.rmtree(folder)
    folder = RELEASED / VERSION
    folder.mkdir(parents=True)
    for part, promise in present().items():
        (folder / f"{part}.json").write_text(written(promise))
    ACCEPTED_BREAKS.write_text(ACCEPTED_BREAKS_START)


def changes(old: Promises, new: Promises) -> Iterator[Change]:
    """Yield all changes between the promises of the last release and the present ones."""
    for part in sorted(part for part in old if old[part] != new.get(part)):
        if part == _EVENTS:
            yield from events.changes(old[part], new[part])
        elif part == _OPERATIONS:
            yield from operations.changes(old[part], new[part])
        else:
            yield from http.changes(part, old[part], new[part])


def written(document: dict[str, Any]) -> str:
    """A document as it is checked in."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _embedded(document: dict[str, Any]) -> dict[str, Any]:
    """The AsyncAPI document with the schemas that it refers to, so that it stands alone."""
    for message in document["components"]["messages"].values():
        message["payload"] = json.loads((EVENTS / message["payload"]["$ref"]).read_text())
    return document
