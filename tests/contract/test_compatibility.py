"""Changes of the real contracts, one by one: breaks are named, additions are accepted."""

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from blog_service.settings import ApiSettings
from compatibility import documents, promises
from compatibility.__main__ import check
from compatibility.collect import openapi
from compatibility.promises import AlreadyReleased, NotReleased, Promises
from service_kit.process.version import VERSION

ROOT = Path(__file__).parents[2]

Edit = Callable[[Promises], object]


@pytest.fixture(scope="module")
def present() -> Promises:
    """Each part by itself, as in a file: what the code shares is not shared here."""
    text: Promises = json.loads(json.dumps(promises.present()))
    return text


def found(present: Promises, edit: Edit) -> list[str]:
    """Return the breaks of a checkout whose contracts were edited so."""
    edited = deepcopy(present)
    edit(edited)
    return [change.sentence for change in promises.changes(present, edited) if change.is_a_break]


def data_of(contract: Promises, kind: str) -> dict[str, Any]:
    payload: dict[str, Any] = contract["events"]["components"]["messages"][kind]["payload"]
    return payload


def queue(contract: Promises, name: str = "live") -> dict[str, Any]:
    binding: dict[str, Any] = contract["events"]["channels"][f"queue.{name}"]["bindings"]["amqp"]
    return binding


def operation(contract: Promises, method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = contract["auth_service"]["paths"][path][method]
    return found


def model(contract: Promises, name: str) -> dict[str, Any]:
    found: dict[str, Any] = contract["auth_service"]["components"]["schemas"][name]
    return found


BREAKS_OF_EVENTS: list[tuple[Edit, str]] = [
    (
        lambda c: data_of(c, "user.created")["properties"].pop("email"),
        "event user.created: `email` is gone",
    ),
    (
        lambda c: data_of(c, "user.created")["properties"]["version"].update(type="string"),
        "event user.created: `version` was of type integer and is of type string",
    ),
    (
        lambda c: data_of(c, "user.updated")["required"].remove("roles"),
        "event user.updated: `roles` may be missing now",
    ),
    (
        lambda c: data_of(c, "user.updated")["properties"]["status"]["enum"].append("invited"),
        "event user.updated: `status` has the new value 'invited'",
    ),
    (
        lambda c: data_of(c, "user.updated")["properties"]["status"]["enum"].remove("disabled"),
        "event user.updated: `status` lost the value 'disabled'",
    ),
    (
        lambda c: data_of(c, "user.updated")["properties"]["email"].update(maxLength=400),
        "event user.updated: maxLength of `email` was 320 and is 400",
    ),
    (
        lambda c: c["events"]["components"]["messages"]["key.revoked"]["headers"]["properties"].pop(
            "cloudEvents_time"
        ),
        "event key.revoked, headers: `cloudEvents_time` is gone",
    ),
    (
        lambda c: c["events"]["components"]["messages"].pop("key.revoked"),
        "event key.revoked: the type is gone",
    ),
    (
        lambda c: c["events"]["channels"]["user.deleted"].update(address="user.removed"),
        "routing key user.deleted: address was user.deleted and is user.removed",
    ),
    (
        lambda c: c["events"]["channels"]["user.deleted"]["bindings"]["amqp"]["exchange"].update(
            name="people"
        ),
        "routing key user.deleted, exchange: name was users and is people",
    ),
    (
        lambda c: c["events"]["channels"]["replay"]["bindings"]["amqp"]["exchange"].update(
            type="topic"
        ),
        "routing key replay, exchange: type was direct and is topic",
    ),
    (lambda c: c["events"]["channels"].pop("urgent"), "routing key urgent: it is gone"),
    (
        lambda c: c["events"]["channels"].pop("queue.urgent"),
        "queue {service}.users.urgent: it is gone",
    ),
    (
        lambda c: queue(c)["queue"]["x-arguments"].update({"x-delivery-limit": 20}),
        "queue {service}.users, queue: x-delivery-limit was 1000 and is 20",
    ),
    (
        lambda c: queue(c)["queue"]["x-arguments"].update({"x-max-length": 5}),
        "queue {service}.users, queue: x-max-length was not set and is 5",
    ),
    (
        lambda c: queue(c)["queue"].update(durable=False),
        "queue {service}.users, queue: durable was True and is False",
    ),
    (
        lambda c: queue(c)["x-bindings"].pop(0),
        "queue {service}.users: it is not bound to users by `user.*` any more",
    ),
    (
        lambda c: c["events"]["operations"]["publish.user.deleted"]["bindings"]["amqp"].pop("bcc"),
        "operation publish.user.deleted: bcc was ['urgent'] and is not set",
    ),
]

BREAKS_OF_HTTP: list[tuple[Edit, str]] = [
    (
        lambda c: c["auth_service"]["paths"].pop("/v1/signup"),
        "auth_service: POST /v1/signup: the operation is gone",
    ),
    (
        lambda c: c["auth_service"]["paths"]["/v1/me"].pop("delete"),
        "auth_service: DELETE /v1/me: the operation is gone",
    ),
    (
        lambda c: operation(c, "post", "/v1/signup")["responses"].pop("201"),
        "auth_service: POST /v1/signup, response 201: the status is gone",
    ),
    (
        lambda c: operation(c, "post", "/v1/signup")["responses"]["409"]["content"][
            "application/problem+json"
        ]["examples"].pop("email_taken"),
        "auth_service: POST /v1/signup, response 409: the problem code email_taken is gone",
    ),
    (
        lambda c: operation(c, "post", "/v1/signup").update(security=[{"accessToken": []}]),
        "auth_service: POST /v1/signup: it does not accept requests without credentials any more",
    ),
    (
        lambda c: model(c, "OwnUserBody")["properties"].pop("email_verified"),
        "auth_service: GET /v1/me, response 200: `email_verified` is gone",
    ),
    (
        lambda c: model(c, "OwnUserBody")["properties"]["version"].update(type="string"),
        "auth_service: GET /v1/me, response 200:"
        " `version` was of type integer and is of type string",
    ),
    (
        lambda c: model(c, "NewCredentials")["required"].append("nickname"),
        "auth_service: POST /v1/signup, request body: `nickname` is required now",
    ),
    (
        lambda c: operation(c, "get", "/v1/admin/users")["parameters"].append(
            {"name": "status", "in": "query", "required": True, "schema": {"type": "string"}}
        ),
        "auth_service: GET /v1/admin/users, query parameter status: it is new and required",
    ),
    (
        lambda c: operation(c, "get", "/v1/admin/users").update(parameters=[]),
        "auth_service: GET /v1/admin/users, query parameter cursor: it is gone",
    ),
]

BREAKS_OF_OPERATIONS: list[tuple[Edit, str]] = [
    (
        lambda c: c["operations"]["commands"].pop("auth-service keys list"),
        "command auth-service keys list: it is gone",
    ),
    (
        lambda c: c["operations"]["commands"]["blog-service reconcile"]["options"].pop("--repair"),
        "command blog-service reconcile, option --repair: it is gone",
    ),
    (
        lambda c: c["operations"]["commands"]["blog-service reconcile"]["options"][
            "--repair"
        ].update(is_flag=False),
        "command blog-service reconcile, option --repair: it takes a value now",
    ),
    (
        lambda c: c["operations"]["commands"]["auth-service replay start"]["options"][
            "--rate"
        ].update(required=True),
        "command auth-service replay start, option --rate: it is required now",
    ),
    (
        lambda c: c["operations"]["commands"]["auth-service users show"]["arguments"].clear(),
        "command auth-service users show, argument ID|EMAIL: it is gone",
    ),
    (
        lambda c: c["operations"]["commands"]["auth-service users show"]["arguments"][0].update(
            name="FILE"
        ),
        "command auth-service users show, argument ID|EMAIL: FILE is in its place",
    ),
    (
        lambda c: c["operations"]["settings"].pop("AUTH_ISSUER"),
        "setting AUTH_ISSUER: it is gone",
    ),
    (
        lambda c: c["operations"]["settings"]["AUTH_PORT"].update(schema={"type": "string"}),
        "setting AUTH_PORT: its value was of type integer and is of type string",
    ),
    (
        lambda c: c["operations"]["settings"]["AUTH_PORT"]["required_by"].append(
            "auth-service api"
        ),
        "setting AUTH_PORT: auth-service api requires it now",
    ),
    (
        lambda c: c["operations"]["settings"]["AUTH_AMQP_URL"]["otherwise"][
            "auth-service replay start"
        ]["schema"].update(anyOf=[{"type": "string"}]),
        "setting AUTH_AMQP_URL of auth-service replay start: its value must not be null any more",
    ),
    (
        lambda c: c["operations"]["settings"]["AUTH_PORT"]["otherwise"].update(
            {"auth-service relay": {"schema": {"type": "string"}, "default": None}}
        ),
        "setting AUTH_PORT of auth-service relay:"
        " its value was of type integer and is of type string",
    ),
    (
        lambda c: c["operations"]["settings"]["BLOG_DELETED_AUTHORS"]["schema"]["enum"].remove(
            "keep"
        ),
        "setting BLOG_DELETED_AUTHORS: its value lost the value 'keep'",
    ),
    (
        lambda c: c["operations"]["metrics"].pop("usersync_relay_active"),
        "metric usersync_relay_active: it is gone",
    ),
    (
        lambda c: c["operations"]["metrics"]["usersync_relay_published_total"].clear(),
        "metric usersync_relay_published_total: the label result is gone",
    ),
    (
        lambda c: c["operations"]["log_events"].remove("message.parked"),
        "log event message.parked: it is gone",
    ),
]


def test_each_break_is_named(present: Promises) -> None:
    """A change of an event names that event alone; one of a model names all its uses."""
    for edit, sentence in BREAKS_OF_EVENTS:
        assert found(present, edit) == [sentence]
    for edit, sentence in (*BREAKS_OF_HTTP, *BREAKS_OF_OPERATIONS):
        assert sentence in found(present, edit)


def add_a_type(contract: Promises) -> None:
    events = contract["events"]
    events["components"]["messages"]["user.merged"] = {}
    events["channels"]["user.merged"] = {}
    events["channels"]["queue.live"]["messages"]["user.merged"] = {}
    events["operations"]["publish.user.merged"] = {}


COMPATIBLE: dict[str, Edit] = {
    "nothing": dict,
    "a field of an event": lambda c: data_of(c, "user.created")["properties"].update(
        nickname={"type": "string"}
    ),
    "a type of events": add_a_type,
    "a binding": lambda c: queue(c)["x-bindings"].append(
        {"exchange": "users", "exchangeType": "topic", "routingKey": "team.*"}
    ),
    "an endpoint": lambda c: c["auth_service"]["paths"].update(
        {"/v1/teams": {"get": {"responses": {"200": {}}}}}
    ),
    "a name of a parameter in a path": lambda c: c["blog_service"]["paths"].update(
        json.loads(json.dumps({"/v1/posts/{id}": c["blog_service"]["paths"].pop(
            "/v1/posts/{post_id}")}).replace("post_id", "id"))
    ),
    "an optional field of a request": lambda c: model(c, "NewCredentials")["properties"].update(
        nickname={"type": "string"}
    ),
    "a field of a response": lambda c: model(c, "OwnUserBody")["properties"].update(
        nickname={"type": "string"}
    ),
    "a problem code": lambda c: operation(c, "post", "/v1/signup")["responses"].update(
        {"418": {"description": "a teapot"}}
    ),
    "a command": lambda c: c["operations"]["commands"].update(
        {"auth-service teams": {"options": {}, "arguments": []}}
    ),
    "an optional setting": lambda c: c["operations"]["settings"].update(
        AUTH_TEAMS={
            "schema": {"type": "boolean"}, "default": False, "otherwise": {}, "required_by": [],
        }
    ),
    "a default": lambda c: c["operations"]["settings"]["AUTH_PORT"].update(default=9001),
    "a metric": lambda c: c["operations"]["metrics"].update(usersync_teams=[]),
}  # fmt: skip


def test_additions_are_accepted(present: Promises) -> None:
    for name, edit in COMPATIBLE.items():
        assert found(present, edit) == [], name


def test_every_command_and_setting_is_in_the_contract(present: Promises) -> None:
    """Those of each process; and options with all their names."""
    operations = present["operations"]
    commands, settings = operations["commands"], operations["settings"]
    assert {"auth-service api", "blog-service proofs verify"} <= commands.keys()
    assert commands["auth-service users create-admin"]["arguments"][0]["required"]
    assert {"AUTH_LIMIT_SIGNUP", "BLOG_RABBITMQ_MANAGEMENT_URL"} <= settings.keys()
    assert settings["AUTH_AMQP_URL"]["required_by"] == ["auth-service relay"]


def test_http_is_described_with_a_setting_that_has_no_value_yet() -> None:
    """So that a new required setting is reported, and not the cause of a failure."""

    class More(ApiSettings):
        teams: str

    assert openapi._unchecked(More, issuer="https://auth.example").teams == ""


def test_the_checked_in_documents_are_current_and_valid() -> None:
    assert [*documents.troubles()] == []


FAULTS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda d: d.pop("info"), "'info' is a required property"),
    (lambda d: d["channels"]["urgent"].update(adress="x"), "'adress' does not match"),
    (
        lambda d: d["channels"]["urgent"]["bindings"]["amqp"].update({"is": "topic"}),
        "'topic' is not one of ['queue', 'routingKey']",
    ),
    (
        lambda d: d["operations"]["consume.live"]["channel"].update({"$ref": "#/channels/none"}),
        "#/channels/none refers to nothing",
    ),
]


def test_validation_finds_faults() -> None:
    """The official schemas are used, and references are followed."""
    asyncapi = json.loads((ROOT / "contracts/events/asyncapi.json").read_text())
    for edit, expected in FAULTS:
        edited = deepcopy(asyncapi)
        edit(edited)
        assert expected in "\n".join(documents.asyncapi_faults(edited))
    document = json.loads((ROOT / "contracts/openapi/blog_service.json").read_text())
    document["paths"]["/v1/me"]["get"]["responses"] = []
    assert [*documents.openapi_faults(document)]


def test_the_check_of_this_checkout_is_silent_about_breaks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As ``make check`` runs it."""
    assert check() == 0
    assert "breaks" not in capsys.readouterr().err


def test_a_part_without_what_it_promised_is_not_passed_over(tmp_path: Path) -> None:
    """Nor is a file without its part."""
    folder = tmp_path / "1.2.0"
    folder.mkdir()
    (folder / "events.json").write_text("{}")
    assert promises.released({"events"}, tmp_path) == ("1.2.0", {"events": {}})
    with pytest.raises(NotReleased, match=r"1\.2\.0 lacks blog_service\.json: restore it"):
        promises.released({"blog_service", "events"}, tmp_path)
    with pytest.raises(NotReleased, match=r"has events\.json, which the code does not have"):
        promises.released(set(), tmp_path)


def test_a_released_version_keeps_its_promises(tmp_path: Path) -> None:
    """Until it has its tag, its promises can be made again."""
    with pytest.raises(AlreadyReleased, match="git cannot say"):
        promises.release(tmp_path)
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=1"], check=True)
    releases = tmp_path / "released"
    (releases / "0.0.1").mkdir(parents=True)
    for _ in range(2):
        promises.release(releases)
    assert promises.released(promises.present().keys(), releases)[0] == VERSION

    subprocess.run([*git, "tag", f"v{VERSION}"], check=True)
    kept = releases / VERSION / "events.json"
    kept.write_text("{}")
    accepted = releases / "accepted-breaks"
    accepted.write_text("a break because of a reason")
    with pytest.raises(AlreadyReleased, match=f"{VERSION} was released"):
        promises.release(releases)
    assert kept.read_text() == "{}"
    assert accepted.read_text() == "a break because of a reason"
