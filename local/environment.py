"""The servers' addresses that somebody gave us in the environment.

Guarantees: what `make env` exported for this checkout's own servers does not count as given, so
that `eval "$(make env)"` followed by `make up` or `make test` means what it meant before. What it
exported for another checkout is refused: this one would run on its databases, replace its signing
key and revoke its account. Addresses that somebody gives on purpose, without the mark of a
checkout, are used as they stand.
"""

import os

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from local.errors import LocalError
from local.paths import LOCAL, ROOT, VHOST, socket_folder

EMBEDDED = LOCAL / "postgres"
"""Where the embedded PostgreSQL of `make up` keeps its data."""

SERVICES = ("AUTH", "BLOG")

CHECKOUT_VARIABLE = "LOCAL_CHECKOUT"
"""Names, among the exports of `make env`, the checkout that they are of."""


def refuse_others_exports() -> None:
    """Make sure that this shell has not the settings of another checkout.

    Raises:
        LocalError: it has; names the checkout, and the remedy.
    """
    other = os.environ.get(CHECKOUT_VARIABLE)
    if other and other != str(ROOT):
        raise LocalError(
            f"This shell has the settings of another checkout, {other}; here, in {ROOT}, they"
            ' would be used in place of our own. Take them back first: eval "$(make -s unset)"'
        )


def database_url(service: str) -> str | None:
    """The database that the environment names for "AUTH" or "BLOG", if any.

    Raises:
        LocalError: the value is no address.
    """
    name = f"{service}_DATABASE_URL"
    value = os.environ.get(name)
    if not value:
        return None
    try:
        folder = make_url(value).query.get("host")
    except ArgumentError as error:
        raise LocalError(
            f"{name} is no address; write it as postgresql+asyncpg://user:password@host/database."
        ) from error
    return None if folder == str(socket_folder(EMBEDDED)) else value


def amqp_url(service: str) -> str | None:
    """The broker that the environment names for a service, else the one it names for the other."""
    for name in dict.fromkeys((service, *SERVICES)):
        value = os.environ.get(f"{name}_AMQP_URL")
        if value and not value.endswith(f"/{VHOST}"):
            return value
    return None
