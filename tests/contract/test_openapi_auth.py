"""Every response of the auth service matches its OpenAPI document."""

import asyncio
from base64 import b64encode
from pathlib import Path

import pytest

from auth_service.app import create_app
from auth_service.settings import ApiSettings
from service_kit.database.engines import pooled
from service_kit.process.rates import Rate
from tests.support.auth_api import bearer, made_admin, serving, signed_up
from tests.support.builders import SOURCE
from tests.support.openapi import FEW, SECONDS_MAX, assert_conforms

EXAMPLES = 8
"""Requests per operation, because there are forty operations."""

UNLIMITED = Rate(1_000_000, 60)
LIMITS = [name for name in ApiSettings.model_fields if name.startswith("limit_")]


@pytest.mark.timeout(SECONDS_MAX)
@pytest.mark.parametrize("examples", [FEW, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("cheap_hashing")
def test_every_response_is_documented_and_none_is_a_500(
    auth_url: str, private_pem: str, tmp_path: Path, examples: int
) -> None:
    """For every kind of caller, with requests that the document allows and others."""
    settings = ApiSettings(
        _env_file=None,
        database_url=auth_url,
        private_key=private_pem,
        issuer=SOURCE,
        mail_folder=str(tmp_path),
    ).model_copy(update=dict.fromkeys(LIMITS, UNLIMITED))

    callers = asyncio.run(made_callers(settings))

    assert_conforms(create_app(settings), callers=callers, examples=examples, may_refuse=True)


async def made_callers(settings: ApiSettings) -> list[dict[str, str]]:
    """Return headers of every kind of caller, from no credentials to an invalid token."""
    engine = pooled(settings)
    async with serving(settings) as api:
        user = await signed_up(api, "ada@example.org")
        admin = await signed_up(api, "grace@example.org")
        await made_admin(engine, admin)
        body = {"name": "importer", "scopes": ["posts:write", "replays:write", "users:reconcile"]}
        made = await api.post("/v1/admin/services", json=body, headers=bearer(admin))
        assert made.status_code == 201, made.text
        basic = b64encode(f"{made.json()['id']}:{made.json()['api_key']}".encode()).decode()
        by_key = {"Authorization": f"Basic {basic}"}
        grant = {"grant_type": "client_credentials"}
        service = (await api.post("/oauth/token", data=grant, headers=by_key)).json()
    await engine.dispose()
    rubbish = {"Authorization": "Bearer rubbish"}
    return [{}, bearer(user), bearer(admin), by_key, bearer(service), rubbish]
