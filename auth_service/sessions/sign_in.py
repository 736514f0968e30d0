"""Find the user behind an e-mail address and a password.

Guarantees: an unknown address and a wrong password differ in nothing that the caller can see: the
same limits count them, the same statements run, one hash is computed, one error answers. No log
line holds an address or a network; a network is named by a keyed hash, so that lines of one can be
put together.
"""

from dataclasses import dataclass, replace

import structlog
from sqlalchemy import select

from auth_service.context import Context
from auth_service.throttle.sign_in_attempts import begin_attempt, record_success, withdraw_attempt
from auth_service.users.model import AccountDisabled, BadEmail, User, normalised_email
from auth_service.users.passwords import HashingBusy
from auth_service.users.rehash import upgrade_hash
from auth_service.users.table import to_user, users

log = structlog.get_logger()


class WrongCredentials(Exception):
    """Address and password do not belong together; which of the two is wrong stays untold."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A user who showed his password.

    Parameters:
        user: as he was when his row was read.
        password_hash: the one that his password matches, as it is stored now. A session starts
            only under the lock of a row that still has it.
        headers: what is left of the limits, for the answer.
        is_known: whether they signed in from this network before.
    """

    user: User
    password_hash: str
    headers: dict[str, str]
    is_known: bool


async def sign_in(auth: Context, *, email: str, password: str, network: str) -> Verified:
    """The user with this address and password, who may sign in.

    Raises:
        TooManyRequests, WrongCredentials, HashingBusy: as ``recognise``.
        AccountDisabled: the user is disabled.
    """
    found = await check_credentials(auth, email=email, password=password, network=network)
    user = found.user
    seen = {"user_id": str(user.id), "network": _logged(auth, network)}
    if user.status != "active":
        log.info("authn_login_fail", reason="disabled", **seen)
        raise AccountDisabled
    password_hash = await upgrade_hash(
        auth.engine, auth.passwords, user.id, password=password, password_hash=found.password_hash
    )
    log.info("authn_login_success", **seen)
    return replace(found, password_hash=password_hash)


async def check_credentials(auth: Context, *, email: str, password: str, network: str) -> Verified:
    """The user with this address and password, who may be disabled.

    Raises:
        TooManyRequests: the network or the account has to wait; the password was not looked at.
        WrongCredentials: no user has both.
        HashingBusy: too many passwords wait to be checked.
    """
    email = _as_stored(email)
    tried = await begin_attempt(auth.throttle, auth.settings, account=email, network=network)
    async with auth.engine.connect() as connection:
        query = select(users).where(users.c.email == email)
        row = (await connection.execute(query)).one_or_none()
    try:
        matches = await auth.passwords.matches(password, row.password_hash if row else None)
    except HashingBusy:
        await withdraw_attempt(auth.throttle, tried)
        raise
    if not matches or row is None:
        user_id = str(row.id) if row else None
        log.info("authn_login_fail", user_id=user_id, network=_logged(auth, network))
        raise WrongCredentials
    await record_success(auth.throttle, tried)
    return Verified(to_user(row), row.password_hash, tried.headers, tried.is_known)


def _logged(auth: Context, network: str) -> str:
    """How log lines name a network."""
    return auth.secrets.mac("log", network.encode()).hex()[:16]


def _as_stored(email: str) -> str:
    """The address as the users' table has it; a text that is none stays one that nobody has."""
    try:
        return normalised_email(email)
    except BadEmail:
        return email
