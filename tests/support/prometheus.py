"""Prometheus with the configuration of `deploy/monitoring`, and its tool for checking that."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import yaml  # type: ignore[import-untyped]

from local.debian_programs import debian_program
from local.ports import LOOPBACK, free_port
from tests.support.eventually import eventually

MONITORING: Final = Path(__file__).parents[2] / "deploy" / "monitoring"
ALERTS: Final = MONITORING / "alerts.yml"
DASHBOARD: Final = MONITORING / "grafana" / "dashboards" / "usersync.json"

SCRAPE_INTERVAL: Final = "500ms"

HEARTBEATS_FASTER: Final = 15
"""Heartbeats of a test come every second, not every 15."""

_AGE: Final = re.compile(r"(_age_seconds\)) > (\d+)")
_WINDOW: Final = re.compile(r"\[5m\]")


def rules() -> list[dict[str, Any]]:
    """Return the rules of all alerts, as operators get them."""
    found = yaml.safe_load(ALERTS.read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


def hurried_rules() -> str:
    """Return the same rules for a system whose heartbeats come every second.

    An age may be a fifteenth, errors are counted over five seconds, and nothing has to last.
    """
    found = yaml.safe_load(ALERTS.read_text())
    for group in found["groups"]:
        for rule in group["rules"]:
            rule["for"] = "1s"
            shorter = _WINDOW.sub("[5s]", rule["expr"])
            rule["expr"] = _AGE.sub(
                lambda age: f"{age[1]} > {int(age[2]) / HEARTBEATS_FASTER:g}", shorter
            )
    return str(yaml.safe_dump(found))


def dashboard() -> dict[str, Any]:
    """Return Grafana's dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def dashboard_expressions() -> list[str]:
    """Return every expression of the dashboard, with an interval in place of Grafana's own."""
    targets = [target for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return [target["expr"].replace("$__rate_interval", "10s") for target in targets]


def promtool(*arguments: str | Path) -> str:
    """Run promtool, which must succeed, and return its output."""
    program = debian_program("promtool", package="prometheus")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, cwd=MONITORING
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """A running Prometheus."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now."""
        found: list[dict[str, Any]] = (await self._get("query", query=expression))["result"]
        return found

    async def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        found: list[dict[str, Any]] = (await self._get("alerts"))["alerts"]
        return found

    async def scrapes(self, targets: int) -> bool:
        """Return whether so many targets respond."""
        return len(await self.query("up == 1")) == targets

    async def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = await self._client.get(f"/api/v1/{path}", params=parameters)
        body = answer.json()
        assert body["status"] == "success", body
        data: dict[str, Any] = body["data"]
        return data


@asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, str]) -> AsyncIterator[Prometheus]:
    """Run one with the configuration of `deploy/monitoring` and its hurried rules.

    Parameters:
        folder: for its files.
        targets: the address of each job's only process, as ``host:port``.
    """
    configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    configuration["global"] = dict.fromkeys(
        ("scrape_interval", "scrape_timeout", "evaluation_interval"), SCRAPE_INTERVAL
    )
    jobs = configuration["scrape_configs"]
    assert {job["job_name"] for job in jobs} == targets.keys()
    for job in jobs:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    (folder / "alerts.yml").write_text(hurried_rules())
    address = f"{LOOPBACK}:{free_port()}"
    process = await asyncio.to_thread(_start, folder, address)
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:

            async def is_ready() -> bool:
                assert process.poll() is None, (folder / "prometheus.log").read_text()
                try:
                    return (await client.get("/-/ready")).status_code == httpx.codes.OK
                except httpx.TransportError:
                    return False

            await eventually(is_ready, every=0.05)
            yield Prometheus(client)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


def _start(folder: Path, address: str) -> subprocess.Popen[bytes]:
    with (folder / "prometheus.log").open("wb") as log:
        return subprocess.Popen(
            [
                debian_program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
