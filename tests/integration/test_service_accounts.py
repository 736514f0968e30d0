"""Service accounts and their API keys: storage, number of live keys, administration."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.secrets import Secrets
from auth_service.services import model
from auth_service.services.administer import create_service, delete_service
from auth_service.services.authenticate import WrongKey, authenticate
from auth_service.services.keys import revoke_key, rotate_key
from auth_service.services.model import SCOPES, ApiKey, IssuedKey, TooManyApiKeys
from tests.support.auth_api import AuthApi, Signed, assert_problem
from tests.support.inbox import everything, execute, fetch
from tests.support.locks import after_waiting
from tests.support.statements import statements

SERVICES = "/v1/admin/services"
ACTOR = "operator:test"
SECRETS = Secrets(b"the present secret, of thirty-two bytes")
NOBODY = "svc_0000000000000000"
NO_KEY = "000000000000"
ISSUED = {"id", "name", "scopes", "key_id", "api_key", "expires_at"}
KEY = {"key_id", "created_at", "expires_at", "last_used_at", "revoked_at"}


async def created(engine: AsyncEngine, name: str = "feed", **changes: Any) -> IssuedKey:
    values: dict[str, Any] = {"scopes": ["posts:write"], "key_days": 90, "actor": ACTOR}
    return await create_service(engine, SECRETS, name=name, **(values | changes))


async def rotated(engine: AsyncEngine, service: str, secrets: Secrets = SECRETS) -> IssuedKey:
    return await rotate_key(engine, secrets, service, key_days=90, actor=ACTOR)


async def works(
    engine: AsyncEngine,
    issued: IssuedKey,
    secrets: Secrets = SECRETS,
    *,
    service_id: str | None = None,
    api_key: str | None = None,
) -> bool:
    service_id = issued.id if service_id is None else service_id
    api_key = issued.api_key if api_key is None else api_key
    try:
        found = await authenticate(engine, secrets, service_id=service_id, api_key=api_key)
    except WrongKey:
        return False
    return found.id == issued.id


async def last_used(engine: AsyncEngine, key_id: str) -> datetime | None:
    [row] = await fetch(engine, f"SELECT last_used_at FROM api_keys WHERE key_id = '{key_id}'")
    used: datetime | None = row.last_used_at
    return used


class TestKeys:
    """Issue, use, rotate, revoke."""

    async def test_only_its_hash_is_stored(self, auth_engine: AsyncEngine) -> None:
        """No table has the secret; another secret of the service makes another hash."""
        issued = await created(auth_engine)
        key = ApiKey.parse(issued.api_key)
        [stored] = await fetch(auth_engine, "SELECT secret_mac FROM api_keys")
        assert key is not None
        assert key.secret not in await everything(auth_engine)
        assert stored.secret_mac == SECRETS.mac("api-key", key.hashed)
        assert not await works(auth_engine, issued, Secrets(b"another secret"))

    async def test_a_key_needs_its_secret_and_account(self, auth_engine: AsyncEngine) -> None:
        """Nor does a hash match that an attacker with access to the table moved to another key."""
        feed, blog = await created(auth_engine), await created(auth_engine, "blog")
        mine, others = ApiKey.parse(feed.api_key), ApiKey.parse(blog.api_key)
        assert mine is not None
        assert others is not None
        stolen = ApiKey(others.id, mine.secret).text

        for service_id in (blog.id, NOBODY, feed.name, ""):
            assert not await works(auth_engine, feed, service_id=service_id), service_id
        mixed, unknown = ApiKey(mine.id, others.secret).text, ApiKey.new().text
        for key in (blog.api_key, mixed, stolen, unknown, feed.api_key[:-1], ""):
            assert not await works(auth_engine, feed, api_key=key), key
        assert await works(auth_engine, feed)
        await execute(
            auth_engine,
            "UPDATE api_keys SET secret_mac ="
            f" (SELECT secret_mac FROM api_keys WHERE key_id = '{mine.id}')"
            f" WHERE key_id = '{others.id}'",
        )
        assert not await works(auth_engine, blog, api_key=stolen)

    async def test_the_form_is_checked_before_the_database(self, auth_engine: AsyncEngine) -> None:
        """A malformed key costs no query; there is no table to query here."""
        await execute(auth_engine, "DROP TABLE api_keys")
        key = ApiKey.new().text
        for shown in ("", "secret", key[:-1], f"{key[:-6]}000000"):
            with pytest.raises(WrongKey):
                await authenticate(auth_engine, SECRETS, service_id=NOBODY, api_key=shown)

    async def test_two_keys_may_be_live(self, auth_engine: AsyncEngine) -> None:
        """The refusal of a third names them; revoked and expired ones do not count, or work."""
        first = await created(auth_engine)
        second = await rotated(auth_engine, "feed")
        in_90_days = datetime.now(UTC) + timedelta(days=90)
        assert abs(first.expires_at - in_90_days) < timedelta(minutes=1)
        assert await works(auth_engine, first)
        assert await works(auth_engine, second)
        with pytest.raises(TooManyApiKeys) as refused:
            await rotated(auth_engine, first.id)
        assert first.key_id in str(refused.value)
        assert second.key_id in str(refused.value)

        only = f"WHERE key_id = '{first.key_id}'"
        await execute(auth_engine, f"UPDATE api_keys SET expires_at = now() {only}")
        third = await rotated(auth_engine, first.id)
        await revoke_key(auth_engine, second.key_id, actor=ACTOR)
        fourth = await rotated(auth_engine, first.id)
        live = [await works(auth_engine, each) for each in (first, second, third, fourth)]
        assert live == [False, False, True, True]

    async def test_a_rotating_crowd_leaves_two_live_keys(self, auth_engine: AsyncEngine) -> None:
        issued = await created(auth_engine)
        crowd = (rotated(auth_engine, issued.id) for _ in range(10))
        ended = await asyncio.gather(*crowd, return_exceptions=True)
        assert Counter(map(type, ended)) == {IssuedKey: 1, TooManyApiKeys: 9}
        assert len(await fetch(auth_engine, "SELECT 1 FROM api_keys")) == 2

    async def test_revoking_twice_is_revoking_once(self, auth_engine: AsyncEngine) -> None:
        """One time, one audit entry; and no use is stored, so no dead key looks live."""
        issued = await created(auth_engine)
        assert not await works(auth_engine, issued, service_id=NOBODY)
        await revoke_key(auth_engine, issued.key_id, actor=ACTOR)
        first = await fetch(auth_engine, "SELECT revoked_at FROM api_keys")

        await revoke_key(auth_engine, issued.key_id, actor=ACTOR)

        assert not await works(auth_engine, issued)
        assert await last_used(auth_engine, issued.key_id) is None
        assert await fetch(auth_engine, "SELECT revoked_at FROM api_keys") == first
        revocations = "SELECT 1 FROM audit_log WHERE action = 'api_key_revoked'"
        assert len(await fetch(auth_engine, revocations)) == 1

    async def test_use_is_stored_once_a_minute(self, auth_engine: AsyncEngine) -> None:
        """Storing each use would make all requests of a service wait for one row."""
        issued = await created(auth_engine)
        assert await last_used(auth_engine, issued.key_id) is None

        assert await works(auth_engine, issued)
        first = await last_used(auth_engine, issued.key_id)
        with statements() as executed:
            assert await works(auth_engine, issued)
        assert len(executed) == 1
        second = await last_used(auth_engine, issued.key_id)
        await execute(auth_engine, "UPDATE api_keys SET last_used_at = now() - interval '61 s'")
        assert await works(auth_engine, issued)
        third = await last_used(auth_engine, issued.key_id)

        assert first is not None
        assert third is not None
        assert second == first
        assert first < third

    async def test_a_crowd_stores_its_use_once(self, auth_engine: AsyncEngine) -> None:
        issued = await created(auth_engine)
        await execute(
            auth_engine,
            "CREATE SEQUENCE writes MINVALUE 0",
            "CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM nextval('writes'); RETURN NULL; END $$",
            "CREATE TRIGGER count_write AFTER UPDATE ON api_keys"
            " FOR EACH ROW EXECUTE FUNCTION count_write()",
        )

        async def crowd() -> list[bool]:
            return await asyncio.gather(*(works(auth_engine, issued) for _ in range(5)))

        lock = "SELECT * FROM api_keys FOR UPDATE"
        assert all(await after_waiting(auth_engine, crowd(), lock, sessions=5))

        [row] = await fetch(auth_engine, "SELECT nextval('writes') AS writes")
        assert row.writes == 1

    async def test_keys_outlive_a_change_of_the_secret(self, auth_engine: AsyncEngine) -> None:
        """A key that was used while the old secret was known works without it from then on."""
        old, new = b"the old secret", b"the new secret"
        issued = await create_service(
            auth_engine, Secrets(old), name="feed", scopes=SCOPES, key_days=90, actor=ACTOR
        )
        unused = await rotated(auth_engine, "feed", Secrets(old))

        assert not await works(auth_engine, issued, Secrets(new))
        assert await works(auth_engine, issued, Secrets(new, old))
        assert await works(auth_engine, issued, Secrets(new))
        assert not await works(auth_engine, unused, Secrets(new))

    async def test_what_cannot_be_is_refused(self, auth_engine: AsyncEngine) -> None:
        await created(auth_engine)

        for attempt, refusal in (
            (created(auth_engine), model.ServiceNameTaken),
            (created(auth_engine, "a feed"), model.BadServiceName),
            (created(auth_engine, "blog", scopes=["users:write"]), model.UnknownScope),
            (rotated(auth_engine, "blog"), model.NoSuchService),
            (delete_service(auth_engine, NOBODY, actor=ACTOR), model.NoSuchService),
            (revoke_key(auth_engine, NO_KEY, actor=ACTOR), model.NoSuchApiKey),
        ):
            with pytest.raises(refusal):
                await attempt
        assert len(await fetch(auth_engine, "SELECT 1 FROM service_accounts")) == 1

    async def test_everything_is_in_the_audit_log(self, auth_engine: AsyncEngine) -> None:
        issued = await created(auth_engine)
        await rotated(auth_engine, issued.id)
        with pytest.raises(TooManyApiKeys):
            await rotated(auth_engine, issued.id)
        await revoke_key(auth_engine, issued.key_id, actor=ACTOR)
        await delete_service(auth_engine, issued.id, actor=ACTOR)

        query = "SELECT action, subject, details, actor FROM audit_log ORDER BY id"
        rows = await fetch(auth_engine, query)
        of_service = {"service": issued.id}
        created_as = {"name": "feed", "scopes": ["posts:write"]}
        assert rows[0] == ("service_created", issued.id, created_as, ACTOR)
        assert rows[1] == ("api_key_created", issued.key_id, of_service, ACTOR)
        later = ("api_key_created", "api_key_revoked", "service_deleted")
        assert tuple(row.action for row in rows[2:]) == later
        assert [row.subject for row in rows[3:]] == [issued.key_id, issued.id]
        assert {row.actor for row in rows} == {ACTOR}


async def posted(api: AuthApi, root: Signed, name: str = "feed") -> dict[str, Any]:
    form = {"name": name, "scopes": ["posts:write"]}
    answer = await api.ask(root, "POST", SERVICES, form)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


class TestAdministration:
    """``/v1/admin/services`` and the keys below it."""

    REQUESTS = (
        ("POST", SERVICES, {"name": "feed", "scopes": ["posts:write"]}),
        ("GET", SERVICES, None),
        ("GET", f"{SERVICES}/{NOBODY}", None),
        ("DELETE", f"{SERVICES}/{NOBODY}", None),
        ("POST", f"{SERVICES}/{NOBODY}/keys", None),
        ("GET", f"{SERVICES}/{NOBODY}/keys", None),
        ("DELETE", f"{SERVICES}/{NOBODY}/keys/{NO_KEY}", None),
    )

    async def test_only_administrators_may(self, api: AuthApi, root: Signed) -> None:
        """401 without a token, 403 without the role, whether or not the account exists."""
        ada = await api.sign_up()
        for method, path, body in self.REQUESTS:
            anonymous, known = [await api.ask(who, method, path, body) for who in (None, ada)]
            assert_problem(anonymous, 401, "authentication_required")
            assert_problem(known, 403, "forbidden")
            if NOBODY in path:
                assert_problem(await api.ask(root, method, path, body), 404, "not_found")

    async def test_an_account_is_made_shown_and_deleted(self, api: AuthApi, root: Signed) -> None:
        made = await posted(api, root)
        path = f"{SERVICES}/{made['id']}"
        shown = await api.ask(root, "GET", path)
        keys = await api.ask(root, "GET", f"{path}/keys")

        assert made.keys() == ISSUED
        assert shown.json().keys() == {"id", "name", "scopes", "status", "created_at"}
        assert {**made, **shown.json()}.items() >= {"name": "feed"}.items()
        assert [key.keys() for key in keys.json()["items"]] == [KEY]
        assert made["api_key"].split("_")[2] not in shown.text + keys.text
        assert shown.json()["created_at"].endswith("Z")

        deleted = await api.ask(root, "DELETE", path)
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert_problem(await api.ask(root, "GET", path), 404, "not_found")
        assert await api.fetch("SELECT * FROM api_keys") == []

    async def test_keys_are_rotated_and_revoked(self, api: AuthApi, root: Signed) -> None:
        made = await posted(api, root)
        other = await posted(api, root, "other")
        keys = f"{SERVICES}/{made['id']}/keys"

        second = await api.ask(root, "POST", keys)
        third = await api.ask(root, "POST", keys)
        strange = await api.ask(root, "DELETE", f"{keys}/{other['key_id']}")
        once = await api.ask(root, "DELETE", f"{keys}/{made['key_id']}")
        twice = await api.ask(root, "DELETE", f"{keys}/{made['key_id']}")
        fourth = await api.ask(root, "POST", keys)

        assert (second.status_code, second.json().keys()) == (201, ISSUED)
        assert_problem(third, 409, "too_many_keys")
        assert_problem(strange, 404, "not_found")
        assert (once.status_code, twice.status_code, fourth.status_code) == (204, 204, 201)
        listed = (await api.ask(root, "GET", keys)).json()["items"]
        newest_first = [answer.json()["key_id"] for answer in (fourth, second)]
        assert [key["key_id"] for key in listed] == [*newest_first, made["key_id"]]
        assert [key["revoked_at"] is None for key in listed] == [True, True, False]
        query = "SELECT actor, subject FROM audit_log WHERE action = 'api_key_revoked'"
        assert await api.fetch(query) == [(f"user:{root['user']['id']}", made["key_id"])]

    async def test_another_form_is_refused(self, api: AuthApi, root: Signed) -> None:
        """422; above all, the client cannot choose the id. 409 for a name that is taken."""
        good = {"name": "feed", "scopes": ["posts:write"]}
        changed: list[dict[str, Any]] = [
            *({"name": name} for name in ("a feed", NOBODY, "feed\n")),
            *({"scopes": scopes} for scopes in ([], ["users:write"], ["posts:write"] * 4)),
            {"id": NOBODY},
        ]
        for changes in changed:
            answer = await api.ask(root, "POST", SERVICES, {**good, **changes})
            assert_problem(answer, 422, "invalid_request")
        await posted(api, root)
        taken = await api.ask(root, "POST", SERVICES, good)
        assert_problem(taken, 409, "service_name_taken")
        for path in (SERVICES, f"{SERVICES}/{NOBODY}/keys"):
            for cursor in ("-", "a b", "", "x" * 65):
                answer = await api.ask(root, "GET", path, cursor=cursor)
                assert_problem(answer, 422, "invalid_request")

    async def test_accounts_and_keys_come_in_pages(self, api: AuthApi, root: Signed) -> None:
        """Each once, accounts by name, keys newest first; the last page has no cursor."""
        names = [f"service-{number}" for number in (4, 2, 5, 1, 3)]
        for name in names:
            made = await posted(api, root, name)
        keys = f"{SERVICES}/{made['id']}/keys"
        issued = [made["key_id"]]
        for _ in range(4):
            await api.ask(root, "DELETE", f"{keys}/{issued[-1]}")
            issued.append((await api.ask(root, "POST", keys)).json()["key_id"])

        services = await pages(api, root, SERVICES)
        listed = await pages(api, root, keys)

        assert [len(page) for page in services] == [2, 2, 1]
        assert [item["name"] for page in services for item in page] == sorted(names)
        assert [key["key_id"] for page in listed for key in page] == issued[::-1]


async def pages(api: AuthApi, root: Signed, path: str) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = (await api.ask(root, "GET", path, **params)).json()
        assert page.keys() == {"items", "next_cursor"}
        found.append(page["items"])
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]
