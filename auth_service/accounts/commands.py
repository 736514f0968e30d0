"""The commands ``auth-service users …``: create administrators, show, export and erase users."""

import itertools
import re
import secrets
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from auth_service.accounts.typed_password import with_password
from service_kit.database.commands import on_database
from service_kit.process.errors import OperatorError
from service_kit.process.export_options import ExportedUser, Into
from service_kit.process.id_lists import STDIN, Ids, argument, ids_of, user_id
from service_kit.process.load import load
from service_kit.process.progress import Progress
from service_kit.process.terminal import EXIT_FAILED, AsJson, failing_with_a_sentence, show
from service_kit.process.times import time_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from auth_service.users.model import User

GENERATED_PASSWORD_BYTES: Final = 24
"""Nobody guesses 192 bits, and 32 characters can still be typed by hand."""

NAMED_MAX: Final = 10
"""Addresses that a question names: as many as an operator reads before answering."""

app = typer.Typer(no_args_is_help=True, help="Manage users.")


def _role(text: str) -> str:
    from auth_service.users.model import ROLE_PATTERN

    if not re.fullmatch(ROLE_PATTERN, text):
        raise typer.BadParameter("use lower-case letters, digits, - and _, starting with a letter")
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
        bool, typer.Option("--existing", help="Promote the existing account with this address.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create an administrator.

    The command prompts for the password, or reads it as one line from standard input. If it is
    empty, the command generates a strong one and shows it once. On a terminal, one that is refused
    is asked for again, at most twice.

    An existing account is refused, because anybody can sign up with any address. --existing
    promotes it: its sessions end and its access tokens are refused everywhere. It keeps its
    password if its owner has verified the address, and gets a new one otherwise.
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
    from auth_service.users.passwords import Passwords
    from service_kit.process.actors import operator

    settings, passwords = load(OperatorSettings), Passwords(threads=1, waiting_max=1)
    generated: dict[str, str] = {}

    async def write(engine: "AsyncEngine", password: str | None) -> "User":
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

    def write_with(typed: str) -> "User":
        if not typed:
            bytes_min = max(GENERATED_PASSWORD_BYTES, settings.password_length_min)
            typed = generated["password"] = secrets.token_urlsafe(bytes_min)
        return on_database(settings, lambda engine: write(engine, typed))

    try:
        user = on_database(settings, lambda engine: use_case.find_promotable(engine, email))
        _require_consent(user, existing=existing)
        keeps_password = user is not None and user.email_verified
        if keeps_password:
            written = on_database(settings, lambda engine: write(engine, None))
        else:
            written = with_password(write_with, length_min=settings.password_length_min)
    except BadEmail as error:
        raise OperatorError(f"not a valid e-mail address: {error}") from None
    except AccountDisabled:
        raise OperatorError(
            "this account is disabled; ask an administrator to enable it, or use another address"
        ) from None
    except VersionsExhausted:
        raise OperatorError(
            "this account has used up its versions and can only be deleted"
        ) from None
    except (EmailTaken, NoSuchUser):
        raise OperatorError(
            "the account with this address was created, changed or deleted in the meantime; check"
            " it with `auth-service users show` and run the command again"
        ) from None
    account = "existing" if existing else "new"
    show(
        {"id": written.id, "email": written.email, "account": account, **generated}, as_json=as_json
    )
    if generated:
        print("the password is not shown again", file=sys.stderr)
    if keeps_password:
        print("the account keeps its password; its sessions have ended", file=sys.stderr)


AUser = Annotated[str, typer.Argument(metavar="ID|EMAIL", help="User id or e-mail address.")]


@app.command("show", epilog="Example: auth-service users show ada@example.org --json")
@failing_with_a_sentence
def show_user(user: AUser, as_json: AsJson = False) -> None:
    """Show a user, their active sessions and recent audit entries."""
    from auth_service.accounts.overview import overview

    async def read(engine: "AsyncEngine") -> dict[str, Any]:
        async with engine.connect() as connection:
            return await overview(connection, user)

    found = _found(read)
    if as_json:
        show(found, as_json=True)
    else:
        _print_overview(found)


@app.command("life", epilog="Example: auth-service users life ada@example.org --json")
@failing_with_a_sentence
def show_life(user: AUser, as_json: AsJson = False) -> None:
    """Show a user as `show` does, and the events of their latest versions, newest first.

    For each version: its event, when it was recorded and published, and why it waits if it does.
    The service with a replica shows the other end: `blog-service users life ID`. The
    audit log says who looked.
    """
    from auth_service.accounts.view import view
    from service_kit.process.actors import operator

    found = _found(lambda engine: view(engine, user, actor=operator()))
    if as_json:
        show(found, as_json=True)
        return
    versions = found.pop("versions")
    _print_overview(found)
    print("versions, newest first" if versions else "no version is in the log: all are pruned")
    for each in versions:
        print("  ".join((f"{each['version']:>21,}", str(each["event_id"]), _sent(each))))


def _sent(version: dict[str, Any]) -> str:
    """What became of an event, in words."""
    if version["published_at"] is not None:
        until_now = f"published {time_text(version['published_at'])}"
    elif version["set_aside"] is not None:
        until_now = f"set aside: {version['set_aside']}"
    else:
        until_now = "not published yet"
    return f"{version['type']}  recorded {time_text(version['recorded_at'])}  {until_now}"


@app.command(epilog="Example: auth-service users find ada@")
@failing_with_a_sentence
def find(
    text: Annotated[
        str,
        typer.Argument(metavar="PREFIX", help="Beginning of an id or address, three characters."),
    ],
    as_json: AsJson = False,
) -> None:
    """Find users by the beginning of their id or e-mail address.

    At most twenty; deleted ones by id alone. The search is in the audit log, without its text.
    """
    from dataclasses import asdict

    from auth_service.accounts import view
    from auth_service.settings import DatabaseSettings
    from service_kit.process.actors import operator
    from service_kit.process.id_prefixes import PREFIX_LENGTH_MIN

    text = text.strip()
    if len(text) < PREFIX_LENGTH_MIN:
        raise typer.BadParameter(f"give at least {PREFIX_LENGTH_MIN} characters")
    found = on_database(
        load(DatabaseSettings),
        lambda engine: view.find(engine, text, actor=operator(), by_address=True),
    )
    if as_json:
        show({"items": [asdict(user) for user in found]}, as_json=True)
    elif not found:
        raise OperatorError("no user has an id or address that begins like this")
    else:
        for user in found:
            print("  ".join((str(user.id), f"{user.status:<8}", user.email or "-")))


def _found(read: "Callable[[AsyncEngine], Awaitable[dict[str, Any]]]") -> dict[str, Any]:
    """What ``read`` finds of a user."""
    from auth_service.settings import DatabaseSettings
    from auth_service.users.model import BadEmail, NoSuchUser

    try:
        return on_database(load(DatabaseSettings), read)
    except (BadEmail, NoSuchUser):
        raise OperatorError("no user has this id or e-mail address") from None


def _print_overview(found: dict[str, Any]) -> None:
    entries = found.pop("audit")
    if "roles" in found:
        found["roles"] = ", ".join(found["roles"]) or None
    show(found, as_json=False)
    for entry in entries:
        details = entry["details"] or ""
        print(f"{time_text(entry['occurred_at'])}  {entry['action']} by {entry['actor']} {details}")


@app.command(
    epilog="Example: auth-service users export 0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52 --into ada.zip"
)
@failing_with_a_sentence
def export(
    user: ExportedUser,
    into: Into,
) -> None:
    """Export what this service knows of a user, as a part of a zip archive of JSON.

    The export is in the audit log. `blog-service users export` adds the part of the blog to the
    same archive.
    """
    from datetime import UTC, datetime

    from auth_service.accounts.export import FOLDER, export_by
    from auth_service.settings import DatabaseSettings
    from auth_service.users.model import NoSuchUser
    from service_kit.process.actors import operator
    from service_kit.process.archive import archive_at

    settings = load(DatabaseSettings)
    try:
        with archive_at(into, FOLDER, datetime.now(UTC)) as archive:
            on_database(
                settings,
                lambda engine: export_by(engine, UUID(user), archive, actor=operator()),
            )
    except NoSuchUser:
        raise OperatorError("no user has this id") from None
    print(into)


@app.command(epilog="Example: auth-service users erase 0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52")
@failing_with_a_sentence
def erase(
    ids: Annotated[
        list[str],
        typer.Argument(
            parser=argument(user_id),
            metavar="ID …|-",
            help="Users to erase; - reads ids from standard input.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation prompt.")] = False,
    as_json: AsJson = False,
) -> None:
    """Permanently delete users, as if they had done it themselves.

    An unknown id, or that of the last administrator, is reported and skipped; the exit code is 1
    then. Users erased before it stay erased.

    With - the ids come from standard input, any number of them, and nothing is asked. All are read
    and checked before the first user is erased.
    """
    from auth_service.settings import DatabaseSettings

    settings = load(DatabaseSettings)
    with ids_of(ids, user_id) as users:
        if not yes and STDIN not in ids and sys.stdin.isatty():
            named = on_database(settings, lambda engine: _names(engine, users))
            typer.confirm(f"Permanently erase {named}?", abort=True, err=True)
        outcomes = on_database(settings, lambda engine: _erase(engine, users, quietly=as_json))
    if as_json:
        show(outcomes, as_json=True)
    if outcomes["unknown"] or outcomes["last_administrator"]:
        raise typer.Exit(EXIT_FAILED)


async def _names(engine: "AsyncEngine", ids: Ids[UUID]) -> str:
    """Name the first users by address, for the question; count the others.

    An id without a living user stays an id.
    """
    from auth_service.users.queries import addresses_of

    first = list(itertools.islice(ids, NAMED_MAX))
    async with engine.connect() as connection:
        addresses = await addresses_of(connection, first)
    names = [addresses.get(each, str(each)) for each in first]
    if len(ids) > len(first):
        names.append(f"{len(ids) - len(first):,} more")
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


async def _erase(engine: "AsyncEngine", ids: Ids[UUID], *, quietly: bool) -> dict[str, int]:
    """Erase all, print the result of each, and return the number of users by outcome."""
    from auth_service.users.model import LastAdministrator, NoSuchUser

    outcomes = dict.fromkeys(("erased", "already_erased", "unknown", "last_administrator"), 0)
    progress = Progress("erasing", len(ids))
    for each in ids:
        progress.end()
        try:
            is_new = await _erase_one(engine, each)
            outcomes["erased" if is_new else "already_erased"] += 1
            if not quietly:
                print(f"{each}  {'erased' if is_new else 'was already erased'}")
        except NoSuchUser:
            print(f"{each}  unknown user id", file=sys.stderr)
            outcomes["unknown"] += 1
        except LastAdministrator:
            print(
                f"{each}  is the last administrator; create another first: "
                "`auth-service users create-admin`",
                file=sys.stderr,
            )
            outcomes["last_administrator"] += 1
        progress.advance(1)
    progress.end()
    return outcomes


async def _erase_one(engine: "AsyncEngine", erased: UUID) -> bool:
    """Erase a user; return whether they were not erased before."""
    from auth_service.accounts.delete import delete_by
    from auth_service.users.model import NoSuchUser
    from auth_service.users.queries import is_tombstone
    from service_kit.process.actors import operator

    try:
        await delete_by(engine, erased, actor=operator())
    except NoSuchUser:
        async with engine.connect() as connection:
            if not await is_tombstone(connection, erased):
                raise
        return False
    return True


def _require_consent(user: "User | None", *, existing: bool) -> None:
    """Refuse an existing account without ``--existing``, and a missing one with it."""
    if user is None:
        if existing:
            raise OperatorError("no account has this address; omit --existing to create one")
    elif not existing:
        whose = (
            "its owner has verified the address"
            if user.email_verified
            else "nobody has verified the address, so anybody may have signed up with it"
        )
        raise OperatorError(
            f"account {user.id} has this address already, and {whose}; to promote this account and"
            " end its sessions, run the command again with --existing"
        )
