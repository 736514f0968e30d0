"""docker-compose.yml and the files of its profiles, without Docker."""

import re
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

ROOT: Final = Path(__file__).parents[2]

FIRST_TRY: Final = ROOT / "deploy/first-try-secrets"

PROFILES: Final = ("deploy/first-try.yml", "deploy/tls.yml", "deploy/cluster.yml")
"""Files that are merged over the main one."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads ``!override`` and ``!reset``, which say how a list is merged."""


def _without_tag(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _without_tag)


def read(file: str) -> dict[str, Any]:
    """Return a compose file as it is written, with its anchors resolved."""
    found: dict[str, Any] = yaml.load((ROOT / file).read_text(), _Loader)
    return found


COMPOSE: Final = read("docker-compose.yml")
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]


def with_defaults(text: object) -> str:
    """Replace each variable by its default, innermost first."""
    found = str(text)
    while (replaced := re.sub(r"\$\{\w+:-([^${}]*)\}", r"\1", found)) != found:
        found = replaced
    return found


def first_try(secret: str) -> str:
    """The password of a first try."""
    return (FIRST_TRY / secret).read_text().strip()


def password_of(process: str, variable: str) -> str:
    """The password that a process gets for an address, such as ``AUTH_AMQP_PASSWORD_FILE``."""
    path = Path(SERVICES[process]["environment"][variable])
    assert path.parent == Path("/run/secrets")
    assert path.name in SERVICES[process]["secrets"]
    return first_try(path.name)
