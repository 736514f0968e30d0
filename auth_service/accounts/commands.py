"""The commands ``auth-service users …``: the first administrator, and deletion by an operator."""

import re
import secrets
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from service_kit.database.commands import on_database
from service_kit.process.errors import OperatorError
from service_kit.process.load import load
from service_kit.process.terminal import EXIT_FAILED, AsJson, failing_with_a_sentence, show

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from auth_service.users.model import User

PROGRESS_SECONDS: Final = 2
"""How long work may be silent."""

MADE_PASSWORD_BYTES: Final = 24
"""Nobody guesses 192 bits, and 32 characters can still be typed."""

app = typer.Typer(no_args_is_help=True, help="The first administrator; show and erase users.")


def _role(text: str) -> str:
    from auth_service.users.model import ROLE_PATTERN

    if not re.fullmatch(ROLE_PATTERN, text):
        raise typer.BadParameter("a role is lower-case letters, digits, - and _, from a letter on")
    return text


@app.command(epilog="Example: auth-service users create-admin ada@example.org --role operator")
@failing_with_a_sentence
def create_admin(
    email: Annotated[str, typer.Argument(help="E-mail address.")],
    role: Annotated[
        list[str] | None,
        typer.Option(parser=_role, metavar="ROLE", help="Additional role to grant, e.g. operator."),
    ] = None,
    existing: Annotated[
        bool, typer.Option("--existing", help="Promote the account that has this address already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create an administrator.

    The password is asked for, or read as one line from standard input; if it is empty, a strong one
    is made and shown once.

    An account that has the address already is refused, for anybody can sign up with any address.
    With --existing it is promoted: its sessions end and its access tokens are refused everywhere.
    It keeps its password if its owner has verified the address, and gets a new one otherwise.
    """
    from auth_service.accounts import create_admin as use_case
    from auth_service.settings import OperatorSettings
    from auth_service.users.model import (
        AccountDisabled,
        BadEmail,
        EmailTaken,
        NoSuchUser,
        VersionsExhausted,
    )
    from auth_service.users.password_policy import WeakPassword
    from auth_service.users.passwords import Passwords
    from service_kit.process.actors import operator

    settings, passwords = load(OperatorSettings), Passwords(threads=1, waiting_max=1)
    made: dict[str, str] = {}

    async def write(engine: "AsyncEngine") -> "User":
        given: dict[str, Any] = {
            "length_min": settings.password_length_min,
            "actor": operator(),
            "roles": role or [],
        }
        if user is not None:
            return await use_case.promote(engine, passwords, user, password=password, **given)
        return await use_case.create_admin(
            engine, passwords, email=email, password=password or "", **given
        )

    try:
        user = on_database(settings, lambda engine: use_case.find_promotable(engine, email))
        _demand_meant(user, existing=existing)
        keeps_password = user is not None and user.email_verified
        password = None if keeps_password else _password()
        if password == "":
            bytes_min = max(MADE_PASSWORD_BYTES, settings.password_length_min)
            password = made["password"] = secrets.token_urlsafe(bytes_min)
        written = on_database(settings, write)
    except BadEmail as error:
        raise OperatorError(f"this is no e-mail address: {error}") from None
    except AccountDisabled:
        raise OperatorError(
            "this account is disabled; have an administrator enable it, or name another address"
        ) from None
    except VersionsExhausted:
        raise OperatorError("this account can only be deleted: no version is left") from None
    except WeakPassword as error:
        raise OperatorError(f"not this password: {error}") from None
    except (EmailTaken, NoSuchUser):
        raise OperatorError(
            "this address's account was created, changed or deleted just now; look at it "
            "(auth-service users show), and run the command again"
        ) from None
    account = "existing" if existing else "new"
    show({"id": written.id, "email": written.email, "account": account, **made}, as_json=as_json)
    if made:
        print("the password is not shown again", file=sys.stderr)
    if keeps_password:
        print("the account keeps its password; its sessions have ended", file=sys.stderr)


@app.command("show", epilog="Example: auth-service users show ada@example.org --json")
@failing_with_a_sentence
def show_user(
    user: Annotated[str, typer.Argument(metavar="ID|EMAIL", help="Which user.")],
    as_json: AsJson = False,
) -> None:
    """Show a user, how many of his sessions have not ended, and what was done to him last."""
    from auth_service.accounts.overview import overview
    from auth_service.settings import DatabaseSettings
    from auth_service.users.model import BadEmail, NoSuchUser

    async def read(engine: "AsyncEngine") -> dict[str, Any]:
        async with engine.connect() as connection:
            return await overview(connection, user)

    try:
        found = on_database(load(DatabaseSettings), read)
    except (BadEmail, NoSuchUser):
        raise OperatorError("no user has this id or e-mail address") from None
    if as_json:
        show(found, as_json=True)
        return
    entries = found.pop("audit")
    if "roles" in found:
        found["roles"] = ", ".join(found["roles"]) or None
    show(found, as_json=False)
    for entry in entries:
        details = entry["details"] or ""
        print(f"{entry['occurred_at']:%F %T}Z  {entry['action']} by {entry['actor']} {details}")


@app.command(epilog="Example: auth-service users erase 0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52")
@failing_with_a_sentence
def erase(
    ids: Annotated[list[UUID], typer.Argument(metavar="ID …", help="The users' ids.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete users finally, as if each had done it himself.

    Goes on after an id that is unknown or the last administrator's, and ends with exit code 1 then.
    Who was erased before stays erased.
    """
    from auth_service.settings import DatabaseSettings

    settings = load(DatabaseSettings)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Erase {len(ids):,} of the users, finally?", abort=True, err=True)
    if not on_database(settings, lambda engine: _erase(engine, ids)):
        raise typer.Exit(EXIT_FAILED)


async def _erase(engine: "AsyncEngine", ids: list[UUID]) -> bool:
    """Erase all, telling of each; whether there was none that could not be."""
    from auth_service.accounts.delete import delete_by
    from auth_service.users.model import LastAdministrator, NoSuchUser
    from auth_service.users.queries import is_tombstone
    from service_kit.process.actors import operator

    is_well, began = True, time.monotonic()
    told = began
    for number, user_id in enumerate(ids, 1):
        try:
            await delete_by(engine, user_id, actor=operator())
            print(f"{user_id}  erased")
        except NoSuchUser:
            async with engine.connect() as connection:
                was_erased = await is_tombstone(connection, user_id)
            if was_erased:
                print(f"{user_id}  was erased before")
            else:
                print(f"{user_id}  is nobody's id", file=sys.stderr)
                is_well = False
        except LastAdministrator:
            print(
                f"{user_id}  is the last administrator; make another first "
                "(auth-service users create-admin)",
                file=sys.stderr,
            )
            is_well = False
        if (now := time.monotonic()) - told > PROGRESS_SECONDS and number < len(ids):
            told, rate = now, number / (now - began)
            left = (len(ids) - number) / rate
            print(
                f"{number:,} of {len(ids):,}, {rate:,.0f} a second, {left:,.0f} s left",
                file=sys.stderr,
            )
    return is_well


def _demand_meant(user: "User | None", *, existing: bool) -> None:
    """Refuse an account that nobody said they meant, and one that was meant and is not there.

    Raises:
        OperatorError: with what to do.
    """
    if user is None:
        if existing:
            raise OperatorError("no account has this address; leave --existing out to create one")
    elif not existing:
        whose = (
            "its owner has verified the address"
            if user.email_verified
            else "nobody has verified the address, so anybody may have signed up with it"
        )
        raise OperatorError(
            f"account {user.id} has this address already, and {whose}; to promote that very account"
            " and end its sessions, run the command again with --existing"
        )


def _password() -> str:
    """What was typed twice and unseen, or one line of standard input; it may be empty.

    Raises:
        OperatorError: no password could be that.
    """
    from auth_service.users.model import PASSWORD_LENGTH_MAX

    try:
        if sys.stdin.isatty():
            typed: str = typer.prompt(
                "Password (none to have one made)",
                default="",
                show_default=False,
                hide_input=True,
                confirmation_prompt=True,
                err=True,
            )
        else:
            # One more than allowed, and the end of the line: enough to see that it is too long.
            typed = sys.stdin.readline(PASSWORD_LENGTH_MAX + 2).rstrip("\r\n")
        typed.encode()
    except UnicodeError:
        raise OperatorError("not this password: it is not valid Unicode") from None
    if len(typed) > PASSWORD_LENGTH_MAX:
        raise OperatorError(f"not this password: it has more than {PASSWORD_LENGTH_MAX} characters")
    return typed
