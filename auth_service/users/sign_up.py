"""Sign a user up: the row, its first version and the event, in one transaction.

The first session, and the wish for a mail that verifies the address, are part of it: sign-up is
what all crowds do at once, and each transaction waits for the disk.
"""

from collections.abc import Sequence

from sqlalchemy import ARRAY, Text, bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.mail.ask import ask_for_mail
from auth_service.mail.purpose import Purpose
from auth_service.outbox.record import record
from auth_service.sessions.model import NewSession
from auth_service.sessions.start import values_of, with_session
from auth_service.users.addresses import claim_of, is_reserved
from auth_service.users.model import EmailTaken, User
from auth_service.users.new_address import new_address
from auth_service.users.passwords import Passwords
from auth_service.users.table import FIRST_VERSION, to_user, users
from contracts.events import UserCreated

_CREATED = (
    insert(users)
    .from_select(
        ["email", "password_hash", "roles", "version"],
        select(
            bindparam("new_email", type_=Text),
            bindparam("new_hash", type_=Text),
            bindparam("new_roles", type_=ARRAY(Text)),
            FIRST_VERSION,
        )
        .select_from(claim_of("new_email"))
        .where(~is_reserved(bindparam("new_email", type_=Text))),
    )
    .on_conflict_do_nothing(index_elements=[users.c.email])
    .returning(users)
    .cte("created")
)
_ADD = select(_CREATED)
_ADD_WITH_SESSION = with_session(_CREATED)


async def sign_up(
    engine: AsyncEngine,
    passwords: Passwords,
    *,
    email: str,
    password: str,
    session: NewSession | None = None,
    mail: bool = False,
) -> User:
    """Create a user and record ``user.created``.

    Parameters:
        session: to start for him.
        mail: whether to ask for a mail by which he can verify his address.

    Raises:
        BadEmail: the address is none.
        EmailTaken: somebody has it already.
        HashingBusy: too many passwords wait to be hashed.
    """
    email = new_address(email)
    password_hash = await passwords.hash(password)
    async with engine.begin() as connection:
        user = await add_user(connection, email=email, password_hash=password_hash, session=session)
        if mail:
            await ask_for_mail(connection, user.id, Purpose.VERIFY_EMAIL)
    return user


async def add_user(
    connection: AsyncConnection,
    *,
    email: str,
    password_hash: str,
    roles: Sequence[str] = (),
    session: NewSession | None = None,
) -> User:
    """Insert a user and record ``user.created``; the caller commits.

    Parameters:
        connection: in a transaction.
        email: in its normalised form.
        password_hash: as ``passwords`` makes it.
        roles: sorted, each once.
        session: to start for him.

    Raises:
        EmailTaken: somebody has the address already.
    """
    values = {"new_email": email, "new_hash": password_hash, "new_roles": list(roles)}
    if session is None:
        added = await connection.execute(_ADD, values)
    else:
        added = await connection.execute(_ADD_WITH_SESSION, values | values_of(session))
    row = added.one_or_none()
    if row is None:
        raise EmailTaken
    user = to_user(row)
    await record(connection, UserCreated.type, user.state())
    return user
