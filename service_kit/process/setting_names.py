"""List the names of a service's settings, and suggest one for a misspelt name. Pure.

Without this, a variable with the service's prefix that no process reads would be ignored silently,
and with it a limit or an address.

Kubernetes describes every Service of a namespace to each container (``AUTH_SERVICE_HOST``,
``AUTH_PORT_8001_TCP`` …); these variables are not settings and not misspelt ones.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Final, TypeGuard

from service_kit.process.settings import ServiceSettings, is_service_link

EXPORTED: Final = frozenset({"AUTH_URL", "AUTH_RELAY_URL", "BLOG_URL", "BLOG_CONSUMER_URL"})
"""Addresses that ``make env`` exports beside the settings, for other programs."""

NEAR: Final = 0.75
"""How similar a name must be (0 to 1) to be suggested: a letter or two of difference."""

_OF_KUBERNETES: Final = re.compile(
    r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)

_WRITTEN: Final = re.compile(
    r"""^[\s#-]*(?:export\s+|Environment=|name:\s*)?["']?([A-Z][A-Z0-9_]*)["']?\s*(?:[=:]|$)"""
    r"|\$\{?([A-Z][A-Z0-9_]*)",
    re.MULTILINE,
)
"""A name where it is given a value or used, in ``.env``, Compose, Kubernetes or systemd files."""


def names_of(settings: type[ServiceSettings]) -> frozenset[str]:
    """Return the variables of all processes of a service, those that name a file included.

    Parameters:
        settings: any settings of the service.
    """
    prefix = settings.variable("")
    root = next(each for each in reversed(settings.__mro__) if _has(each, prefix))
    return frozenset(
        each.variable(f"{field}{ending}")
        for each in _with_subclasses(root)
        for field in each.model_fields
        for ending in ("", "_FILE")
    )


def unknown(
    variables: Iterable[tuple[str, str]], settings: type[ServiceSettings]
) -> dict[str, str | None]:
    """Return the unknown variables with the service's prefix, each with the nearest known name.

    Parameters:
        variables: names, in any case, with their values; empty where only the name is known.
        settings: any settings of the service.
    """
    prefix, known = settings.variable(""), names_of(settings)
    names = sorted(
        {
            name.upper()
            for name, value in variables
            if name.upper().startswith(prefix) and not is_service_link(value)
        }
    )
    return {
        name: next(iter(difflib.get_close_matches(name, known, n=1, cutoff=NEAR)), None)
        for name in names
        if name not in known | EXPORTED and not _OF_KUBERNETES.fullmatch(name)
    }


def written_in(text: str) -> Iterator[tuple[int, str]]:
    """Find the names of variables in a file, each with its line."""
    for found in _WRITTEN.finditer(text):
        name = found[1] or found[2]
        yield text.count("\n", 0, found.start(1 if found[1] else 2)) + 1, name


def _has(candidate: type, prefix: str) -> TypeGuard[type[ServiceSettings]]:
    return issubclass(candidate, ServiceSettings) and candidate.variable("") == prefix


def _with_subclasses(settings: type[ServiceSettings]) -> Iterator[type[ServiceSettings]]:
    yield settings
    for subclass in settings.__subclasses__():
        yield from _with_subclasses(subclass)
