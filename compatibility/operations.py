"""Compare what operators hold on to: commands, settings, metrics and log events. Pure.

Compatible are new commands, options and optional settings, metrics and log events. A changed
default breaks nothing by its form, but may surprise: it is reported.
"""

from collections.abc import Iterator
from typing import Any, Final

from compatibility.change import Change
from compatibility.schemas import Json, Schema, Use
from compatibility.schemas import changes as schema_changes

_KEEP_COMMAND: Final = "scripts of operators use it: keep it until the next major version"
_KEEP_SETTING: Final = "a process that has it would start without: keep it, or read both names"
_NEEDS_DEFAULT: Final = "processes of the last release start without it: give it a default"
_OPTIONAL: Final = "scripts of operators do not give it: make it optional"
_WATCHED: Final = "dashboards and alarms use it: keep it until the next major version"


def changes(old: Json, new: Json) -> Iterator[Change]:
    """Yield what changed between two descriptions, as ``collect.operations`` makes them."""
    yield from _commands(old["commands"], new["commands"])
    yield from _settings(old["settings"], new["settings"])
    yield from _metrics(old["metrics"], new["metrics"])
    for event in sorted(set(old["log_events"]) - set(new["log_events"])):
        yield Change(f"log event {event}", "it is gone", _WATCHED)


def _commands(old: Json, new: Json) -> Iterator[Change]:
    for command, was in old.items():
        name, now = f"command {command}", new.get(command)
        if now is None:
            yield Change(name, "it is gone", _KEEP_COMMAND)
            continue
        yield from _options(name, was["options"], now["options"])
        yield from _arguments(name, was["arguments"], now["arguments"])


def _options(command: str, old: Json, new: Json) -> Iterator[Change]:
    for option, was in old.items():
        name, now = f"{command}, option {option}", new.get(option)
        if now is None:
            yield Change(name, "it is gone", _KEEP_COMMAND)
        else:
            yield from _parameter(name, was, now)
    for option, now in new.items():
        if option not in old and now["required"]:
            yield Change(f"{command}, option {option}", "it is new and required", _OPTIONAL)


def _arguments(command: str, old: list[Any], new: list[Any]) -> Iterator[Change]:
    for position, was in enumerate(old):
        name = f"{command}, argument {was['name']}"
        if position >= len(new):
            yield Change(name, "it is gone", _KEEP_COMMAND)
            continue
        now = new[position]
        if now["name"] != was["name"]:
            # Two of the same type that change places look alike otherwise.
            yield Change(name, f"{now['name']} is in its place", _KEEP_COMMAND)
        yield from _parameter(name, was, now)
    for now in new[len(old) :]:
        if now["required"]:
            name = f"{command}, argument {now['name']}"
            yield Change(name, "it is new and required", _OPTIONAL)


def _parameter(name: str, was: Json, now: Json) -> Iterator[Change]:
    if now["required"] and not was["required"]:
        yield Change(name, "it is required now", _OPTIONAL)
    if was["many"] and not now["many"]:
        yield Change(name, "it can be given only once now", _KEEP_COMMAND)
    if was["is_flag"] != now["is_flag"]:
        what = "it takes a value now" if was["is_flag"] else "it takes no value any more"
        yield Change(name, what, _KEEP_COMMAND)
    yield from _value(name, was, now)


def _settings(old: Json, new: Json) -> Iterator[Change]:
    for variable, was in old.items():
        name, now = f"setting {variable}", new.get(variable)
        if now is None:
            yield Change(name, "it is gone", _KEEP_SETTING)
            continue
        for process in sorted(set(now["required_by"]) - set(was["required_by"])):
            yield Change(name, f"{process} requires it now", _NEEDS_DEFAULT)
        yield from _value(name, was, now)
        for process in sorted(was["otherwise"].keys() | now["otherwise"].keys()):
            as_read = was["otherwise"].get(process, was), now["otherwise"].get(process, now)
            yield from _value(f"{name} of {process}", *as_read)
    for variable in new.keys() - old.keys():
        for process in new[variable]["required_by"]:
            name = f"setting {variable}"
            yield Change(name, f"it is new, and {process} requires it", _NEEDS_DEFAULT)


def _value(name: str, was: Json, now: Json) -> Iterator[Change]:
    """Compare what a value may be, and the default."""
    schemas = Schema(was["schema"], was["schema"]), Schema(now["schema"], now["schema"])
    yield from schema_changes(*schemas, Use.WRITE, name, "its value")
    if was["default"] != now["default"]:
        yield Change(name, f"the default was {was['default']!r} and is {now['default']!r}")


def _metrics(old: Json, new: Json) -> Iterator[Change]:
    for metric, labels in old.items():
        name, now = f"metric {metric}", new.get(metric)
        if now is None:
            yield Change(name, "it is gone", _WATCHED)
            continue
        for label in sorted(set(labels) - set(now)):
            yield Change(name, f"the label {label} is gone", _WATCHED)
        for label in sorted(set(now) - set(labels)):
            yield Change(name, f"it has the new label {label}")
