"""The commands ``auth-service keys …``: the keys that sign access tokens."""

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand

from auth_service.tokens.model import BITS, BITS_MIN, Keys, SigningKey, reached_text
from service_kit.database.commands import on_database
from service_kit.process.actors import operator
from service_kit.process.load import load
from service_kit.process.terminal import AsJson, failing_with_a_sentence, show

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from auth_service.settings import KeySettings
    from auth_service.tokens.lifecycle import Change, Lifecycle

R = TypeVar("R")

BITS_MAX: Final = 4096
"""A longer key slows every signature and makes no short-lived token safer."""

app = typer.Typer(no_args_is_help=True, help="Manage the keys that sign access tokens.")

Kid = Annotated[
    str, typer.Argument(metavar="KID", help="Key id as shown by `list`, or its beginning.")
]


class _TakesKid(TyperCommand):
    """A command with flags and a key id, which may start with a dash."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take for an option only what is one: ``-hZ…`` asks for no help."""
        if "--" not in args:
            flags = {name for parameter in self.get_params(ctx) for name in parameter.opts}
            given = [arg for arg in args if arg in flags]
            args = [*given, "--", *(arg for arg in args if arg not in flags)]
        return super().parse_args(ctx, args)


@app.command(epilog="Example: auth-service keys generate --bits 3072")
@failing_with_a_sentence
def generate(
    bits: Annotated[
        int, typer.Option(min=BITS_MIN, max=BITS_MAX, help="Length of the modulus.")
    ] = BITS,
    as_json: AsJson = False,
) -> None:
    """Generate and publish a key, to be activated later.

    Activate it once every verifier has fetched it (AUTH_KEY_WAIT_SECONDS).
    """
    from auth_service.settings import KeySettings

    settings = load(KeySettings)
    key, keys = _on(settings, lambda lifecycle: lifecycle.generate(bits))
    _show(_of(key, keys), as_json=as_json)
    _warn_without_a_secret(settings)


@app.command(epilog="Example: auth-service keys activate NzbLsXh8", cls=_TakesKid)
@failing_with_a_sentence
def activate(
    kid: Kid,
    force: Annotated[
        bool,
        typer.Option("--force", help="Activate even if verifiers have not fetched the key yet."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start signing with a pending key.

    The former key stays published until the tokens that it signed have expired.
    """
    from auth_service.settings import KeySettings

    change, keys = _on(load(KeySettings), lambda lifecycle: lifecycle.activate(kid, force=force))
    former = change.other
    _show_change(
        change,
        keys,
        as_json=as_json,
        former=former and former.kid,
        former_leaves_at=former and keys.leaves_at(former),
    )


@app.command(epilog="Example: auth-service keys retire NzbLsXh8", cls=_TakesKid)
@failing_with_a_sentence
def retire(kid: Kid, as_json: AsJson = False) -> None:
    """Withdraw a pending key, so that it never signs."""
    from auth_service.settings import KeySettings

    change, keys = _on(load(KeySettings), lambda lifecycle: lifecycle.retire(kid))
    _show_change(change, keys, as_json=as_json)


@app.command(epilog="Example: auth-service keys revoke NzbLsXh8", cls=_TakesKid)
@failing_with_a_sentence
def revoke(kid: Kid, as_json: AsJson = False) -> None:
    """Revoke a key: all tokens it signed are rejected immediately.

    For emergencies. This is permanent, at this service and at every verifier. If it is the active
    key, the oldest pending key replaces it, or else a new one.
    """
    from auth_service.settings import KeySettings

    settings = load(KeySettings)
    change, keys = _on(settings, lambda lifecycle: lifecycle.revoke(kid))
    successor = change.other
    _show_change(change, keys, as_json=as_json, successor=successor and successor.kid)
    if successor is not None and not successor.is_configured:
        _warn_without_a_secret(settings)


@app.command("list", epilog="Example: auth-service keys list --json")
@failing_with_a_sentence
def show_all(as_json: AsJson = False) -> None:
    """List all keys, oldest first, with their state and next step."""
    from auth_service.settings import KeySettings

    _, keys = _on(load(KeySettings), _nothing)
    if as_json:
        print(json.dumps({"items": [_of(key, keys) for key in keys.keys]}))
        return
    if not keys.keys:
        print("there are no keys yet: run `auth-service keys generate`, or start the API")
    for key in keys.keys:
        origin = f"{key.bits} bits, {key.origin}"
        print(f"{key.kid}  {key.state:<7}  {origin:<21}  {_in_words(key, keys)}")


@app.command(epilog="Example: auth-service keys export > keys.json")
@failing_with_a_sentence
def export() -> None:
    """Print every public key with its state, to verify certificates.

    The output is a JWK Set for `blog-service proofs verify --keys`, and holds no secret. Export it
    again after a revocation.
    """
    from auth_service.settings import KeySettings
    from auth_service.tokens.export import export_keys

    settings = load(KeySettings)
    exported = on_database(settings, lambda engine: export_keys(engine, settings))
    print(exported.model_dump_json(indent=2))


async def _nothing(_: "Lifecycle") -> None:
    """Change nothing: only the keys are read."""


def _on(settings: "KeySettings", work: "Callable[[Lifecycle], Awaitable[R]]") -> tuple[R, Keys]:
    """Run ``work``; return its result and the keys afterwards."""
    from auth_service.tokens.lifecycle import Lifecycle

    async def done(engine: "AsyncEngine") -> tuple[R, Keys]:
        lifecycle = Lifecycle(engine, settings, actor=operator())
        return await work(lifecycle), await lifecycle.keys()

    return on_database(settings, done)


def _of(key: SigningKey, keys: Keys) -> dict[str, Any]:
    """The fields of ``key`` for scripts."""
    from auth_service.tokens.bodies import SigningKeyBody
    from contracts.events import rfc3339

    figures = SigningKeyBody.of(key, keys).model_dump()
    return {
        name: rfc3339(value) if isinstance(value, datetime) else value
        for name, value in figures.items()
    }


def _in_words(key: SigningKey, keys: Keys) -> str:
    if (at := keys.may_be_activated_at(key)) is not None:
        return f"may be activated from {reached_text(at)}" if at > keys.now else "may be activated"
    if (at := keys.leaves_at(key)) is not None:
        return f"{'leaves' if at > keys.now else 'left'} the key set at {reached_text(at)}"
    if key.revoked_at is not None:
        return f"revoked at {reached_text(key.revoked_at)}"
    return f"has signed for {keys.active_for_days(key)} days"


def _show_change(change: "Change", keys: Keys, *, as_json: bool, **more: Any) -> None:
    from contracts.events import rfc3339

    if not change.is_new and not as_json:
        print(f"{change.key.kid} is {change.key.state} already")
        return
    more = {name: rfc3339(at) if name.endswith("_at") and at else at for name, at in more.items()}
    _show({**_of(change.key, keys), **more, "changed": change.is_new}, as_json=as_json)


def _show(figures: dict[str, Any], *, as_json: bool) -> None:
    known = figures if as_json else {name: at for name, at in figures.items() if at is not None}
    show(known, as_json=as_json)


def _warn_without_a_secret(settings: "KeySettings") -> None:
    if settings.secret is None:
        print(
            "AUTH_SECRET is not set, so the new key is encrypted with AUTH_PRIVATE_KEY; before you"
            " change that, copy its present value to AUTH_PREVIOUS_SECRET",
            file=sys.stderr,
        )
