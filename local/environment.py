"""Server addresses from the environment.

Guarantees: addresses that `make env` exported for this checkout's own servers do not count as
given, so `make up` and `make test` do the same before and after `eval "$(make env)"`. Exports of
another checkout are refused: this one would use its databases, replace its signing key and revoke
its account. Addresses without `LOCAL_CHECKOUT` were set on purpose and are used unchanged.
"""

import os

from sqlalchemy.engine import make_url

from local.errors import LocalError
from local.paths import LOCAL, ROOT, VHOST, socket_folder
from service_kit.database import address
from service_kit.process import broker_addresses

EMBEDDED = LOCAL / "postgres"
"""The data folder of the embedded PostgreSQL of `make up`."""

SERVICES = ("AUTH", "BLOG")

CHECKOUT_VARIABLE = "LOCAL_CHECKOUT"
"""Names the checkout that the exports of `make env` belong to."""


def refuse_others_exports() -> None:
    """Refuse a shell with the settings of another checkout.

    Raises:
        LocalError: the shell has them; names the checkout and the remedy.
    """
    other = os.environ.get(CHECKOUT_VARIABLE)
    if other and other != str(ROOT):
        raise LocalError(
            f"This shell has the settings of another checkout, {other}; here, in {ROOT}, they"
            ' would replace the right ones. Remove them first: eval "$(make -s unset)"'
        )


def database_url(service: str) -> str | None:
    """Return the database URL of "AUTH" or "BLOG" from the environment, if any.

    Raises:
        LocalError: the value is not a URL.
    """
    name = f"{service}_DATABASE_URL"
    value = os.environ.get(name)
    if not value:
        return None
    try:
        checked = address.checked(value)
    except ValueError as error:
        raise LocalError(f"{name}: {error}.") from error
    folder = make_url(checked).query.get("host")
    return None if folder == str(socket_folder(EMBEDDED)) else checked


def migrations_url(service: str) -> str | None:
    """Return the address for the migrations of a given database, from the environment, if any."""
    return os.environ.get(f"{service}_MIGRATIONS_DATABASE_URL") or None


def amqp_url(service: str) -> str | None:
    """Return the broker's addresses of a service, or of the other one, from the environment.

    None if there are none. They are separated by blanks.

    Raises:
        LocalError: one of them is not an address.
    """
    for name in (f"{each}_AMQP_URL" for each in dict.fromkeys((service, *SERVICES))):
        value = os.environ.get(name)
        if value and not value.endswith(f"/{VHOST}"):
            try:
                return broker_addresses.checked(value)
            except ValueError as error:
                raise LocalError(f"{name}: {error}.") from error
    return None
