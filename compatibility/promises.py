"""All that this checkout promises, and the files with what the last release promised.

A folder ``contracts/released/<version>`` has one JSON file for each part. There is one such folder.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Set
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
    """What the last release promised is not there, or is not whole; the message says what to do."""


class AlreadyReleased(Exception):
    """This version was released, so its promises are given; the message says what to do."""


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


def released(parts: Set[str], releases: Path = RELEASED) -> tuple[str, Promises]:
    """Read the last release's version and promises.

    Parameters:
        parts: those that the code has. The release must have the same: a part without its file
            would not be compared.
        releases: the folder of the releases.

    Raises:
        NotReleased: there is not one folder, or its files are not those of the parts.
    """
    folders = _releases(releases)
    if len(folders) != 1:
        raise NotReleased(
            f"{releases.name} has {len(folders)} folders of a release: there must be one; restore"
            " it from git"
        )
    [folder] = folders
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    for part in sorted(parts ^ found.keys()):
        where = f"{releases.name}/{folder.name}"
        if part in parts:
            raise NotReleased(
                f"{where} lacks {part}.json: restore it from git; if the service is new, write"
                ' {"paths": {}} there'
            )
        raise NotReleased(f"{where} has {part}.json, which the code does not have any more")
    return folder.name, found


def release(releases: Path = RELEASED) -> None:
    """Make what the code promises now the promise of the last release, which is this version.

    It can be repeated until the version has its tag.

    Parameters:
        releases: the folder of the releases, in a git repository.

    Raises:
        AlreadyReleased: the repository has the tag of this version, or git cannot be asked.
    """
    if _is_tagged(VERSION, releases):
        raise AlreadyReleased(
            f"{VERSION} was released: what it promises does not change. Set the version of the"
            " next release in version.py first; to break on purpose, see docs/contracts.md"
        )
    now = present()
    for folder in _releases(releases):
        shutil.rmtree(folder)
    folder = releases / VERSION
    folder.mkdir()
    for part, promise in now.items():
        (folder / f"{part}.json").write_text(written(promise))
    (releases / ACCEPTED_BREAKS.name).write_text(ACCEPTED_BREAKS_START)


def _releases(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.is_dir()]


def _is_tagged(version: str, folder: Path) -> bool:
    command = ["git", "tag", "--list", f"v{version}"]
    try:
        asked = subprocess.run(  # noqa: S603 - a fixed program, and our own version
            command, cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise AlreadyReleased(
            f"git cannot say whether {version} was released: run this in a clone with its tags"
        ) from error
    return bool(asked.stdout.strip())


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
