"""Monitoring: Prometheus scrapes every process, and says when one is gone."""

from typing import Any, Final

from deploy.trial.containers import Containers
from deploy.trial.people import ask, follow_an_event

PROMETHEUS_PORT: Final = 19090

FIRES_SECONDS_MAX: Final = 240
"""The alert waits for a minute; discovery, scrapes and rules come every 15 seconds each."""

PROCESSES: Final = 4


def run(containers: Containers) -> None:
    """Start, wait until every process is scraped, and let the consumer be away."""
    containers.settings["PROMETHEUS_PORT"] = str(PROMETHEUS_PORT)
    containers.start()
    follow_an_event(containers)
    containers.compose("--profile=monitoring", "up", "--detach", "--wait", "prometheus")
    containers.wait("every process is scraped", lambda: len(_query("up == 1")) == PROCESSES)
    containers.wait("what has arrived is counted", lambda: _query("usersync_queue_depth"))
    containers.wait("no alert fires", lambda: not _firing(), FIRES_SECONDS_MAX)
    containers.compose("stop", "blog-consumer")
    containers.wait(
        "the alert fires", lambda: "UsersyncProcessDown" in _firing(), FIRES_SECONDS_MAX
    )
    containers.compose("start", "blog-consumer")
    containers.wait("it ends", lambda: not _firing(), FIRES_SECONDS_MAX)


def _query(expression: str) -> list[Any]:
    found = ask(PROMETHEUS_PORT, "GET", f"/api/v1/query?query={expression.replace(' ', '%20')}")
    result: list[Any] = found.body["data"]["result"] if found.status == 200 else []
    return result


def _firing() -> set[str]:
    alerts = ask(PROMETHEUS_PORT, "GET", "/api/v1/alerts").body["data"]["alerts"]
    return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}
