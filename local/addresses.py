"""All addresses of the system that `make up` runs, stored in `.local/system.json`.

Guarantees: the file is written atomically and only its owner can read it, because addresses may
contain passwords; the issuer never changes once chosen, because tokens and events name it.

Not here: choosing the addresses (`system`).
"""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from local.account import account_settings
from local.environment import CHECKOUT_VARIABLE
from local.errors import LocalError
from local.keys import PRIVATE_KEY, PUBLIC_KEY
from local.limits import LIMITS
from local.paths import LOCAL, MAIL, ROOT
from local.ports import LOOPBACK
from local.shutdown import NO_DELAY

_FILE = LOCAL / "system.json"
_AUDIENCE = "blog"


@dataclass(frozen=True)
class Ports:
    """The port of each process; relay and consumer serve only health and metrics."""

    auth: int = 8001
    relay: int = 8011
    blog: int = 8002
    consumer: int = 8012
    faults: int = 8013


@dataclass(frozen=True)
class Addresses:
    """One running system."""

    ports: Ports
    issuer: str
    auth_database_url: str
    """With the role of operators' commands, as the next one."""
    blog_database_url: str
    auth_amqp_url: str
    blog_amqp_url: str
    owners: Mapping[str, str] = field(default_factory=dict)
    """By service, the address of its database for the migrations."""
    roles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By service and kind of process, its address of the database."""
    checkout: str = str(ROOT)
    """The checkout that wrote the file: a copied checkout contains the file of the original."""

    @classmethod
    def load(cls) -> "Addresses | None":
        """Read the addresses of the last `make up`; None before the first.

        In a copied or moved checkout they are those of the original. Only their issuer is used:
        the data name it as their source.

        Raises:
            LocalError: the file has another format.
        """
        try:
            fields = json.loads(_FILE.read_text())
            return cls(**fields | {"ports": Ports(**fields["ports"])})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise LocalError(f"{_FILE} cannot be read; remove it and run make up.") from error

    @classmethod
    def current(cls) -> "Addresses":
        """Return the addresses of the last `make up` here.

        Raises:
            LocalError: there was none.
        """
        found = cls.load()
        if found is None or found.checkout != str(ROOT):
            raise LocalError("The system was never started here; run make up.")
        return found

    def save(self) -> None:
        """Store them for the other commands, and for the next `make up`."""
        unfinished = _FILE.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            json.dump(asdict(self), f, indent=2)
        unfinished.rename(_FILE)

    def role_of(self, service: str, kind: str) -> dict[str, str]:
        """Return the settings by which a process differs from a command."""
        address = self.roles.get(service, {}).get(kind)
        return {} if address is None else {f"{service}_DATABASE_URL": address}

    def settings(self, prefix: str = "") -> dict[str, str]:
        """Return the settings of both services, or of the one with this prefix."""
        found = {
            "AUTH_DATABASE_URL": self.auth_database_url,
            "AUTH_AMQP_URL": self.auth_amqp_url,
            "AUTH_HOST": LOOPBACK,
            "AUTH_PORT": str(self.ports.auth),
            "AUTH_WATCHED_QUEUES": "blog.users,blog.users.urgent",
            "AUTH_RELAY_PORT": str(self.ports.relay),
            "AUTH_ISSUER": self.issuer,
            # The ports may have changed since the issuer was chosen.
            "AUTH_PUBLIC_URL": url(self.ports.auth),
            "AUTH_AUDIENCE": _AUDIENCE,
            "AUTH_PRIVATE_KEY": str(PRIVATE_KEY),
            "AUTH_CORS_ORIGINS": url(self.ports.blog),
            "AUTH_MAIL_FOLDER": str(MAIL),
            "AUTH_DOCS": "true",
            **LIMITS,
            **NO_DELAY,
            "BLOG_DATABASE_URL": self.blog_database_url,
            "BLOG_AMQP_URL": self.blog_amqp_url,
            "BLOG_HOST": LOOPBACK,
            "BLOG_PORT": str(self.ports.blog),
            "BLOG_PUBLIC_URL": url(self.ports.blog),
            "BLOG_CONSUMER_PORT": str(self.ports.consumer),
            "BLOG_AUTH_URL": url(self.ports.auth),
            "BLOG_AUTH_PUBLIC_URL": url(self.ports.auth),
            "BLOG_ISSUER": self.issuer,
            "BLOG_AUDIENCE": _AUDIENCE,
            "BLOG_JWKS_URL": f"{url(self.ports.auth)}/.well-known/jwks.json",
            "BLOG_PUBLIC_KEY": str(PUBLIC_KEY),
            "BLOG_DOCS": "true",
            "BLOG_FAULTS_URL": url(self.ports.faults),
            **account_settings(),
        }
        return {name: value for name, value in found.items() if name.startswith(prefix)}

    def urls(self) -> dict[str, str]:
        """Return the base URLs of all processes."""
        return {
            "AUTH_URL": url(self.ports.auth),
            "BLOG_URL": url(self.ports.blog),
            "AUTH_RELAY_URL": url(self.ports.relay),
            "BLOG_CONSUMER_URL": url(self.ports.consumer),
        }

    def exports(self) -> str:
        """Return settings and URLs as shell exports."""
        owners = {f"{name}_MIGRATIONS_DATABASE_URL": url for name, url in self.owners.items()}
        named = self.settings() | owners | self.urls() | {CHECKOUT_VARIABLE: self.checkout}
        return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in named.items())


def url(port: int) -> str:
    """Return the base URL of a process."""
    return f"http://{LOOPBACK}:{port}"
