"""Check an e-mail address and a password, and sign their user in.

Guarantees: the client cannot tell an unknown address from a wrong password: the same limits apply,
the same statements run, one hash is computed, and the error is the same. No log line holds an
address or a network. A keyed hash stands for the network, so that lines of one can be correlated.
"""

from dataclasses import dataclass, replace
from typing import Final

import structlog

from auth_service.context import Context
from auth_service.throttle.sign_in_attempts import (
    attempting,
    begin_attempt,
    record_success,
    withdraw_attempt,
)
from auth_service.users.model import AccountDisabled, BadEmail, User, normalised_email
from auth_service.users.passwords import HashingBusy
from auth_service.users.rehash import upgrade_hash
from auth_service.users.table import to_user, users

log = structlog.get_logger()

_ATTEMPT: Final = attempting(f"SELECT {', '.join(users.c.keys())} FROM users WHERE email = :email")  # noqa: S608 - made of constants


class WrongCredentials(Exception):
    """Address and password do not belong together; nobody is told which of the two is wrong."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A user whose password was verified.

    Parameters:
        user: as of when their row was read.
        password_hash: the stored hash that matched. A session starts only under the lock of a row
            that still has it.
        headers: the rate-limit headers for the response.
        from_known_network: whether they signed in from this network before.
    """

    user: User
    password_hash: str
    headers: dict[str, str]
    from_known_network: bool


async def sign_in(auth: Context, *, email: str, password: str, network: str) -> Verified:
    """Check the credentials of a user who may sign in.

    Raises:
        TooManyRequests, WrongCredentials, HashingBusy: as for ``check_credentials``.
        AccountDisabled: the user is disabled.
    """
    found = await check_credentials(auth, email=email, password=password, network=network)
    user = found.user
    logged = {"user_id": str(user.id), "network": _network_hash(auth, network)}
    if user.status != "active":
        log.info("authn_login_fail", reason="disabled", **logged)
        raise AccountDisabled
    password_hash = await upgrade_hash(
        auth.engine, auth.passwords, user.id, password=password, password_hash=found.password_hash
    )
    log.info("authn_login_success", **logged)
    return replace(found, password_hash=password_hash)


async def check_credentials(auth: Context, *, email: str, password: str, network: str) -> Verified:
    """Check the credentials of a user, who may be disabled.

    Raises:
        TooManyRequests: the network or the account must wait; the password was not checked.
        WrongCredentials: no user has this address and password.
        HashingBusy: too many passwords wait to be checked.
    """
    email = _normalised(email)
    attempt = await begin_attempt(
        auth.throttle, auth.settings, _ATTEMPT, account=email, network=network, email=email
    )
    row = attempt.beside
    try:
        matches = await auth.passwords.matches(password, row["password_hash"])
    except HashingBusy:
        await withdraw_attempt(auth.throttle, attempt)
        raise
    if not matches:
        user_id = str(row["id"]) if row["id"] else None
        log.info("authn_login_fail", user_id=user_id, network=_network_hash(auth, network))
        raise WrongCredentials
    await record_success(auth.throttle, attempt)
    return Verified(to_user(row), row["password_hash"], attempt.headers, attempt.from_known_network)


def _network_hash(auth: Context, network: str) -> str:
    """How log lines name a network."""
    return auth.secrets.mac("log", network.encode()).hex()[:16]


def _normalised(email: str) -> str:
    """Normalise the address; an invalid one stays as it is, and no user has it."""
    try:
        return normalised_email(email)
    except BadEmail:
        return email
