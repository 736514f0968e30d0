"""Sign a user up: the row, its first version and the event, in one transaction.

The first session, the network that it comes from and the request for a verification mail are part
of that transaction: crowds sign up at the same time, and each transaction waits for the disk.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.mail.letters import Purpose
from auth_service.mail.request import request_mail
from auth_service.outbox.record import record
from auth_service.sessions.model import NewSession
from auth_service.sessions.start import session_parameters, starting_session
from auth_service.throttle.sign_in_attempts import REMEMBERING, KnownNetwork
from auth_service.users.claim_address import NEW_USER, new_user_parameters
from auth_service.users.model import EmailTaken, User
from auth_service.users.new_address import validate_new_address
from auth_service.users.passwords import Passwords
from auth_service.users.table import to_user
from contracts.events import UserCreated
from service_kit.database.statements import Statement
from service_kit.database.transactions import Transaction, transaction

_ADD: Final = Statement(select(NEW_USER))
_ADD_WITH_SESSION: Final = Statement(starting_session(NEW_USER))
_ADD_AND_REMEMBER: Final = Statement(starting_session(NEW_USER).add_cte(*REMEMBERING))


async def sign_up(
    engine: AsyncEngine,
    passwords: Passwords,
    *,
    email: str,
    password: str,
    length_min: int | None = None,
    session: NewSession | None = None,
    network: KnownNetwork | None = None,
    mail: bool = False,
) -> User:
    """Create a user and record ``user.created``.

    Parameters:
        length_min: the required number of characters of the password; None: it was judged before.
        session: to start for the user.
        network: where they may sign in again, even while others try passwords for their address;
            only with a session.
        mail: whether to request the mail that lets the user verify the address.

    Raises:
        BadEmail: the address is invalid.
        WeakPassword: the password is too easy to guess.
        EmailTaken: another user has the address.
        HashingBusy: too many passwords wait to be hashed.
    """
    normalised = validate_new_address(email)
    if length_min is None:
        password_hash = await passwords.hash(password)
    else:
        password_hash = await passwords.hash_strong(password, email=email, length_min=length_min)
    async with transaction(engine) as begun:
        user = await add_user(
            begun, email=normalised, password_hash=password_hash, session=session, network=network
        )
        if mail:
            await request_mail(begun, user.id, Purpose.VERIFY_EMAIL)
    return user


async def add_user(
    connection: AsyncConnection | Transaction,
    *,
    email: str,
    password_hash: str,
    roles: Sequence[str] = (),
    session: NewSession | None = None,
    network: KnownNetwork | None = None,
) -> User:
    """Insert a user and record ``user.created``; the caller commits.

    Parameters:
        email: in its normalised form.
        roles: sorted, each once.
        session, network: as for ``sign_up``.

    Raises:
        EmailTaken: another user has the address.
    """
    values = new_user_parameters(email, password_hash, roles)
    if session is None:
        added = await _ADD.on(connection, values)
    elif network is None:
        added = await _ADD_WITH_SESSION.on(connection, values | session_parameters(session))
    else:
        values |= session_parameters(session) | network.parameters(email)
        added = await _ADD_AND_REMEMBER.on(connection, values)
    if not added:
        raise EmailTaken
    user = to_user(added[0])
    await record(connection, UserCreated.type, user.state())
    return user
