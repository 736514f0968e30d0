"""Administrators of both services see the settings in force, without secrets."""

from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.support.auth_api import AuthApi, Signed, assert_problem
from tests.support.content import People

SETTINGS = "/v1/admin/settings"


def by_name(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()["items"]}


async def test_the_auth_services_settings(api: AuthApi, root: Signed) -> None:
    answer = await api.ask(root, "GET", SETTINGS)
    found = by_name(answer)
    settings = api.context.settings
    assert found["AUTH_PRIVATE_KEY"]["is_secret"]
    assert "PRIVATE KEY" not in answer.text
    password = urlsplit(settings.database_url).password
    assert password is None or f":{password}@" not in answer.text
    assert found["AUTH_LIMIT_PASSWORD"] == {
        "name": "AUTH_LIMIT_PASSWORD",
        "value": str(settings.limit_password),
        "origin": "code" if "limit_password" in settings.model_fields_set else "default",
        "is_secret": False,
    }


async def test_the_blogs_settings_are_for_its_administrators(people: People) -> None:
    """By the replica's row."""
    root = await people.user(roles=("admin",))
    operator = await people.user(roles=("operator",))
    found = by_name(await people.ask(root, "GET", SETTINGS))
    assert found["BLOG_LIMIT_POSTS"]["origin"] == "default"
    assert {name.partition("_")[0] for name in found} == {"BLOG"}
    assert_problem(await people.ask(operator, "GET", SETTINGS), 403, "forbidden")
    answer = await people.ask(None, "GET", SETTINGS)
    assert_problem(answer, 401, "authentication_required")
