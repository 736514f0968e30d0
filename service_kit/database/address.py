"""The address of a PostgreSQL database, as libpq writes it, for the driver.

Its parameters mean what libpq's documentation says (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`,
`sslpassword`, `target_session_attrs`, several hosts), or are refused with a sentence.

Not here: connecting (``engines``).
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from service_kit.process.tls import SYSTEM, Parameters, client_context

TLS: Final = Parameters("sslrootcert", "sslcert", "sslkey", "…_DATABASE_URL")

DEFAULT_PORT: Final = 5432

_SCHEMES: Final = ("postgresql", "postgres", "postgresql+asyncpg")

_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_UNVERIFIED: Final = ("disable", "allow", "prefer")

_TARGETS: Final = ("any", "read-write", "primary")
"""A standby would do for none of our processes."""

_OF_TLS: Final = ("sslmode", "ssl", TLS.authority, TLS.certificate, TLS.key, "sslpassword")
_KNOWN: Final = {*_OF_TLS, "host", "port", "target_session_attrs", "passfile"}


@dataclass(frozen=True, slots=True)
class Address:
    """An address in parts.

    ``url`` is without parameters, except hosts. ``target`` says which of several servers will do.
    """

    url: URL
    tls: Mapping[str, str]
    target: str

    def context(self) -> ssl.SSLContext | str | bool | None:
        """What the driver is to do about TLS; None leaves it its defaults.

        Files are read each time, so a renewed certificate counts from the next connection on.

        Raises:
            ValueError: a file cannot be used, or parameters contradict each other.
        """
        mode = self._mode()
        if mode is None:
            return None
        if mode in _UNVERIFIED:
            return False if mode == "disable" else mode
        given = dict(self.tls)
        home = Path.home() / ".postgresql" / "root.crt"
        if TLS.authority not in given and home.exists():
            given[TLS.authority] = str(home)
        if mode != "require" and TLS.authority not in given:
            raise ValueError(
                f"sslmode={mode} needs {TLS.authority}: the file of the authority's certificate,"
                f" or {SYSTEM} for those that the machine trusts"
            )
        return client_context(
            given,
            TLS,
            verifies=TLS.authority in given,
            checks_name=mode == "verify-full",
            key_password=self.tls.get("sslpassword", ""),
        )

    def _mode(self) -> str | None:
        is_system = self.tls.get(TLS.authority) == SYSTEM
        mode = self.tls.get("sslmode") or self.tls.get("ssl") or (is_system and "verify-full")
        if not mode:
            if self.tls:
                raise ValueError(f"{min(self.tls)} needs sslmode: use verify-full")
            return None
        if mode not in _MODES:
            raise ValueError(f"sslmode must be one of {', '.join(_MODES)}")
        if is_system and mode != "verify-full":
            raise ValueError(f"{TLS.authority}={SYSTEM} needs sslmode=verify-full")
        files = [name for name in (TLS.authority, TLS.certificate, TLS.key) if name in self.tls]
        if files and mode in _UNVERIFIED:
            raise ValueError(f"{files[0]} needs sslmode=verify-full, verify-ca or require")
        return mode


def checked(url: str) -> str:
    """Return the address with the driver's scheme, and several hosts as SQLAlchemy writes them.

    Raises:
        ValueError: it is no address, or has a parameter that is unknown or wrong. The message does
            not repeat it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(_NO_ADDRESS)
    try:
        address = _with_hosts_apart(f"postgresql+asyncpg://{rest}")
        parsed = make_url(address)
    except (ArgumentError, ValueError):
        raise ValueError(_NO_ADDRESS) from None
    for name in parsed.query:
        if name not in _KNOWN:
            raise ValueError(
                f"has the parameter {name!r}, which is not supported; these are:"
                f" {', '.join(sorted(_KNOWN - {'ssl'}))}"
            )
    found = read(address)
    if found.target not in _TARGETS:
        raise ValueError(
            f"target_session_attrs must be one of {', '.join(_TARGETS)}: a standby takes no changes"
        )
    found.context()
    return address


_NO_ADDRESS: Final = "must be the address of a PostgreSQL database (postgresql://…)"


def read(database_url: str) -> Address:
    """Take a checked address apart."""
    url = make_url(database_url)
    tls = {name: str(url.query[name]) for name in _OF_TLS if name in url.query}
    hosts = url.query.get("host", ())
    several = isinstance(hosts, tuple) and len(hosts) > 1
    target = str(url.query.get("target_session_attrs", "read-write" if several else "any"))
    return Address(url.difference_update_query([*tls, "target_session_attrs"]), tls, target)


def _with_hosts_apart(address: str) -> str:
    """Write each of several hosts as a parameter of its own: ``?host=a:5432&host=b:5432``."""
    parts = urlsplit(address)
    user, at, place = parts.netloc.rpartition("@")
    query = parse_qsl(parts.query, keep_blank_values=True)
    hosts = [value for name, value in query if name == "host"] or [place]
    ports = ",".join(value for name, value in query if name == "port").split(",")
    listed = ",".join(hosts).split(",")
    if len(listed) == 1:
        return address
    if len(ports) not in (1, len(listed)):
        raise ValueError("as many ports as hosts, or one")
    ports *= len(listed) if len(ports) == 1 else 1
    apart = [("host", _host_and_port(host, port)) for host, port in zip(listed, ports, strict=True)]
    others = [(name, value) for name, value in query if name not in ("host", "port")]
    text = urlencode([*apart, *others], safe="/:")
    return f"{parts.scheme}://{user}{at}{parts.path}?{text}"


def _host_and_port(host: str, port: str) -> str:
    name, colon, own = unquote(host).rpartition(":")
    name, own = (name, own) if colon else (own, port or str(DEFAULT_PORT))
    if not name or "[" in name or ":" in name:
        raise ValueError("a host without a name, or an IPv6 address in a list")
    return f"{name}:{int(own)}"
