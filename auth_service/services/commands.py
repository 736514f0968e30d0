"""The commands ``auth-service services …``: service accounts and their API keys."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service_kit.database.commands import on_database
from service_kit.process.actors import operator
from service_kit.process.load import load
from service_kit.process.terminal import AsJson, failing_with_a_sentence, show
from service_kit.process.times import time_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from auth_service.services.bodies import ServiceWithKeysBody
    from auth_service.services.model import IssuedKey, Status

app = typer.Typer(no_args_is_help=True, help="Manage service accounts and their API keys.")


@app.command(
    epilog="Example: auth-service services create feed-importer --scope posts:write --json"
)
@failing_with_a_sentence
def create(
    name: Annotated[str, typer.Argument(help="Unique name: letters, digits, '.', '_' and '-'.")],
    scope: Annotated[list[str], typer.Option(help="Scope to grant; repeatable.")],
    as_json: AsJson = False,
) -> None:
    """Create a service account and show its API key once."""
    from auth_service.services.administer import create_service
    from auth_service.settings import KeySettings

    settings = load(KeySettings)
    issued = on_database(
        settings,
        lambda engine: create_service(
            engine,
            settings.secrets,
            name=name,
            scopes=scope,
            key_days=settings.api_key_days,
            actor=operator(),
        ),
    )
    _show_issued(issued, as_json=as_json)


@app.command(
    epilog="Example: auth-service services ensure blog --scope users:reconcile --folder /keys/blog"
)
@failing_with_a_sentence
def ensure(
    name: Annotated[str, typer.Argument(help="Unique name: letters, digits, '.', '_' and '-'.")],
    scope: Annotated[list[str], typer.Option(help="Scope to grant if missing; repeatable.")],
    folder: Annotated[Path, typer.Option(help="Folder of the files service-id and api-key.")],
    as_json: AsJson = False,
) -> None:
    """Ensure a service account and a valid API key file exist.

    Creates what is missing, and replaces the key in the last third of its life. The former key
    stays valid until it expires; no key is shown. Run it each time the system starts.
    """
    from auth_service.services.credential_files import credential_files
    from auth_service.services.ensure import ensure_service
    from auth_service.services.model import Credentials
    from auth_service.settings import KeySettings

    settings = load(KeySettings)
    with credential_files(folder) as files:
        stored = files.load()
        issued = on_database(
            settings,
            lambda engine: ensure_service(
                engine,
                settings.secrets,
                name=name,
                scopes=scope,
                stored=stored,
                key_days=settings.api_key_days,
                actor=operator(),
            ),
        )
        if issued is not None:
            files.save(Credentials(issued.id, issued.api_key))
    until = None if issued is None else issued.expires_at
    if as_json:
        figures = {"name": name, "is_new": issued is not None, "expires_at": until}
        show(figures | {"folder": folder}, as_json=True)
    elif until is None:
        print(f"{name} has a valid key in {folder}")
    else:
        print(f"{name} has a new key in {folder}, valid until {time_text(until)}")


@app.command("list", epilog="Example: auth-service services list")
@failing_with_a_sentence
def show_all(as_json: AsJson = False) -> None:
    """List service accounts and the state of their API keys."""
    from auth_service.settings import KeySettings

    services = on_database(load(KeySettings), _all)
    if as_json:
        items = [service.model_dump(mode="json") for service in services]
        print(json.dumps({"items": items}))
        return
    for service in services:
        state = "" if service.status == "active" else f"  {service.status}"
        print(f"{service.name}  {service.id}  {' '.join(service.scopes)}{state}")
        for key in service.keys:
            used = f"last used {time_text(key.last_used_at)}" if key.last_used_at else "never used"
            end = f"expires {time_text(key.expires_at)}"
            if key.revoked_at:
                end = f"revoked {time_text(key.revoked_at)}"
            print(f"    {key.key_id}  {end}  {used}")


@app.command(epilog="Example: auth-service services rotate-key feed-importer")
@failing_with_a_sentence
def rotate_key(
    service: Annotated[str, typer.Argument(metavar="NAME|ID", help="Service account.")],
    as_json: AsJson = False,
) -> None:
    """Issue another API key and show it once.

    The former key stays valid until you revoke it or it expires.
    """
    from auth_service.services import keys
    from auth_service.settings import KeySettings

    settings = load(KeySettings)
    issued = on_database(
        settings,
        lambda engine: keys.rotate_key(
            engine,
            settings.secrets,
            service,
            key_days=settings.api_key_days,
            actor=operator(),
        ),
    )
    _show_issued(issued, as_json=as_json)


@app.command(epilog="Example: auth-service services revoke-key 7hQ2mZx0RkTb")
@failing_with_a_sentence
def revoke_key(
    key_id: Annotated[
        str, typer.Argument(help="Key id as shown by `list`: the key's middle part.")
    ],
    as_json: AsJson = False,
) -> None:
    """Revoke an API key. Its account's tokens are rejected everywhere."""
    from auth_service.services import keys
    from auth_service.settings import KeySettings

    on_database(load(KeySettings), lambda engine: keys.revoke_key(engine, key_id, actor=operator()))
    if as_json:
        show({"key_id": key_id, "state": "revoked"}, as_json=True)
    else:
        print(f"{key_id} is revoked")


@app.command(epilog="Example: auth-service services disable feed-importer")
@failing_with_a_sentence
def disable(
    service: Annotated[str, typer.Argument(metavar="NAME|ID", help="Service account.")],
    as_json: AsJson = False,
) -> None:
    """Disable a service account. Its tokens are rejected everywhere."""
    _set_status(service, "disabled", as_json=as_json)


@app.command(epilog="Example: auth-service services enable feed-importer")
@failing_with_a_sentence
def enable(
    service: Annotated[str, typer.Argument(metavar="NAME|ID", help="Service account.")],
    as_json: AsJson = False,
) -> None:
    """Enable a service account. Its former tokens stay rejected."""
    _set_status(service, "active", as_json=as_json)


def _set_status(service: str, status: "Status", *, as_json: bool) -> None:
    from auth_service.services.administer import set_status
    from auth_service.services.bodies import ServiceBody
    from auth_service.settings import KeySettings

    account = on_database(
        load(KeySettings), lambda engine: set_status(engine, service, status, actor=operator())
    )
    if as_json:
        show(ServiceBody.model_validate(account).model_dump(mode="json"), as_json=True)
    else:
        print(f"{account.name} is {account.status}")


async def _all(engine: "AsyncEngine") -> "list[ServiceWithKeysBody]":
    from auth_service.services.bodies import KeyBody, ServiceBody, ServiceWithKeysBody
    from auth_service.services.queries import services_with_keys

    async with engine.connect() as connection:
        found = await services_with_keys(connection)
    return [
        ServiceWithKeysBody(
            **ServiceBody.model_validate(service).model_dump(),
            keys=[KeyBody.model_validate(key) for key in keys],
        )
        for service, keys in found
    ]


def _show_issued(issued: "IssuedKey", *, as_json: bool) -> None:
    from auth_service.services.bodies import IssuedKeyBody

    if as_json:
        print(IssuedKeyBody.model_validate(issued).model_dump_json())
        return
    print(f"service id  {issued.id}")
    print(f"API key     {issued.api_key}")
    print(f"key id      {issued.key_id}")
    print(f"scopes      {' '.join(issued.scopes)}")
    print(f"expires     {time_text(issued.expires_at)}")
    print("The key cannot be shown again: store it where the service reads its secrets.")
