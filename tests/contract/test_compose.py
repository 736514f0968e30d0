"""docker-compose.yml keeps what deployers rely on; ``python3 -m deploy.trial`` runs it."""

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from auth_service.settings import RelaySettings
from blog_service.settings import ConsumerSettings
from contracts.events.accounts import relay_account
from contracts.events.names import live_queue, urgent_queue
from service_kit.http.settings import HttpSettings
from tests.support.compose import (
    COMPOSE,
    FIRST_TRY,
    PROFILES,
    ROOT,
    SERVICES,
    password_of,
    read,
    with_defaults,
)

API = {"auth-api", "blog-api"}
PUBLISHED = {"proxy", "rabbitmq", "prometheus", "grafana"}
LONG_RUNNING = {name for name, service in SERVICES.items() if "restart" in service}
AS_ROOT = {
    "proxy",  # its volume belongs to root, and ports below 1024 are its own
    "backup",  # so does the volume of backups
}
"""They have no right of root but that to their own files."""

ALL = [
    (file, name) for file in ("docker-compose.yml", *PROFILES) for name in read(file)["services"]
]


def service(file: str, name: str) -> dict[str, Any]:
    """A service of a file, on top of what it extends or changes."""
    own: dict[str, Any] = read(file)["services"][name]
    base = own.get("extends", {}).get("service", name)
    return {**SERVICES.get(base, {}), **own}


@pytest.mark.parametrize(("file", "name"), ALL)
def test_a_container_has_limits_and_no_rights(file: str, name: str) -> None:
    """Memory, processors, processes and its log are limited, and its files are read-only."""
    found = service(file, name)
    assert re.fullmatch(r"\d+[mg]", with_defaults(found["mem_limit"]))
    assert float(with_defaults(found["cpus"])) <= 1, "a machine with one core refuses more"
    assert found["pids_limit"] > 0
    assert found["logging"]["driver"] == "json-file"
    assert {"max-size", "max-file"} == found["logging"]["options"].keys()
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_runs_as_root_without_a_reason(name: str) -> None:
    found = SERVICES[name]
    is_ours = "context" in found.get("build", ())  # the Dockerfile names the user
    assert (is_ours or found.get("user") not in (None, "root")) == (name not in AS_ROOT)
    assert re.search(r"^USER \d+:\d+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(LONG_RUNNING))
def test_a_long_running_container_is_checked_and_restarted(name: str) -> None:
    found = SERVICES[name]
    assert found["restart"] == "unless-stopped"
    assert found["healthcheck"]["test"]


def test_a_stop_leaves_time_to_finish() -> None:
    """Requests in progress have ten seconds after an API left its proxy."""
    for name, needed in (
        ("blog-consumer", ConsumerSettings.model_fields["drain_seconds_max"].default),
        ("auth-api", HttpSettings.model_fields["shutdown_delay_seconds"].default + 11),
        ("blog-api", HttpSettings.model_fields["shutdown_delay_seconds"].default + 11),
    ):
        grace = SERVICES[name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) >= needed + 5, name


def test_the_apis_have_no_port_of_the_machine() -> None:
    """With one, ``--scale auth-api=2`` fails."""
    assert {name for name, found in SERVICES.items() if "ports" in found} == PUBLISHED
    for name in API:
        assert set(SERVICES[name]["networks"]) == {"default", "front"}
    for file in ("docker-compose.yml", *PROFILES):
        for found in read(file)["services"].values():
            assert "container_name" not in found


def test_what_is_published_is_on_the_loopback_interface() -> None:
    for file, name in ALL:
        for port in service(file, name).get("ports", ()):
            assert with_defaults(port).startswith("127.0.0.1:"), port


def test_the_apis_trust_the_proxy_alone() -> None:
    """Its address is outside the range from which other containers get theirs."""
    proxy = SERVICES["proxy"]["networks"]["front"]["ipv4_address"]
    assert SERVICES["auth-api"]["environment"]["AUTH_TRUSTED_PROXIES"] == proxy
    assert SERVICES["blog-api"]["environment"]["BLOG_TRUSTED_PROXIES"] == proxy
    assert with_defaults(proxy).endswith(".2")
    network = COMPOSE["networks"]["front"]["ipam"]["config"][0]
    assert with_defaults(network["ip_range"]).endswith(".128/25")


@pytest.mark.parametrize(("file", "name"), ALL)
def test_no_password_is_in_an_environment(file: str, name: str) -> None:
    """``docker inspect`` shows environments; files of /run/secrets it does not."""
    for variable, value in (service(file, name).get("environment") or {}).items():
        text = with_defaults(value)
        assert not re.search(r"://[^/@]*:[^/@]+@", text), f"{variable} has a password"
        assert value is None or not re.search(r"(PASSWORD|SECRET|API_KEY)$", variable), variable
        if variable.endswith("PASSWORD_FILE"):
            assert Path(text).name in service(file, name)["secrets"], variable


@pytest.mark.parametrize("process", ["auth-api", "auth-relay", "blog-api", "blog-consumer"])
def test_a_process_has_its_own_password(process: str) -> None:
    prefix = process.partition("-")[0].upper()
    assert (
        password_of(process, f"{prefix}_DATABASE_PASSWORD_FILE") == f"first-try-postgres-{process}"
    )
    for secret in SERVICES[process]["secrets"]:
        assert secret.endswith(process)


def test_each_secret_has_a_file_for_a_first_try() -> None:
    declared = [
        (name, with_defaults(secret["file"]))
        for file in ("docker-compose.yml", *PROFILES)
        for name, secret in read(file).get("secrets", {}).items()
    ]
    for name, file in declared:
        assert (ROOT / file).is_file()
        assert Path(file).name == name
    assert {name for name, _ in declared} == {path.name for path in FIRST_TRY.iterdir()}


def test_secrets_are_made_once_and_only_their_owner_reaches_them(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "secrets"
    for _ in range(2):
        subprocess.run([ROOT / "deploy/make-secrets.sh", folder], check=True)
        made = {path.name: path.read_text() for path in folder.iterdir()}
        assert made.keys() == {path.name for path in FIRST_TRY.iterdir()}
        assert all(re.fullmatch(r"[A-Za-z0-9]{32}", password) for password in made.values())
        assert len(set(made.values())) == len(made)
        (folder / "postgres-auth").chmod(0o644)
        (folder / "postgres-auth").write_text("x" * 32)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        folder.chmod(0o755)
    assert made["postgres-auth"] == "x" * 32


def test_an_image_has_a_version() -> None:
    for file, name in ALL:
        if "image" in (found := service(file, name)):
            assert re.fullmatch(r"(\w+/)?\w+:v?\d[\w.-]*", found["image"])
    for file in ("Dockerfile", "deploy/proxy/Dockerfile"):
        dockerfile = (ROOT / file).read_text()
        stages = set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.MULTILINE))
        for image in set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) - stages:
            assert re.fullmatch(r"\w+:[\w.-]+", image)
            assert not image.endswith("latest")


def test_each_extra_that_can_be_built_in_is_locked_to_what_is_tested() -> None:
    lock, extended, tested = (
        dict(re.findall(r"^([\w.-]+)==([^ ;]+)", (ROOT / file).read_text(), re.MULTILINE))
        for file in ("requirements.txt", "requirements-otel.txt", "requirements-dev.txt")
    )
    assert lock.items() < extended.items() < tested.items()
    assert "opentelemetry-sdk" in extended.keys() - lock.keys()


def test_files_that_containers_get_exist() -> None:
    for file in ("docker-compose.yml", *PROFILES):
        content = read(file)
        configs = content.get("configs", {})
        for config in configs.values():
            assert (ROOT / config["file"]).is_file(), config
        known = configs.keys() | COMPOSE["configs"].keys()
        for found in content["services"].values():
            assert {each["source"] for each in found.get("configs", ())} <= known


def test_old_events_are_removed_by_default() -> None:
    """By default the setting keeps them forever, which fills the disk of who forgets it."""
    assert RelaySettings.model_fields["outbox_keep_days"].default is None
    kept = SERVICES["auth-relay"]["environment"]["AUTH_OUTBOX_KEEP_DAYS"]
    assert int(with_defaults(kept)) >= 7


def test_the_relay_watches_what_waits_for_the_blog() -> None:
    """While no consumer runs, nobody else could say that deletions and revocations wait."""
    watched = with_defaults(SERVICES["auth-relay"]["environment"]["AUTH_WATCHED_QUEUES"])
    assert watched.split(",") == [live_queue("blog"), urgent_queue("blog")]
    assert {*watched.split(",")} < {*relay_account(["blog"]).write}, "RabbitMQ 4 does not show it"
