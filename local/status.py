"""Show the system on this machine: its processes, its servers, and what both services report."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from subprocess import CompletedProcess
from typing import Any, Final

from local.addresses import Addresses, url
from local.paths import ROOT, program
from local.processes import BackgroundProcess
from local.system import processes, servers
from service_kit.process.terminal import Health

_SERVICES: Final = ("auth-service", "blog-service")
_WORKING: Final = (Health.WELL, Health.DEGRADED)
"""Of a service's ``status --check``."""
_TIMEOUT_SECONDS: Final = 30.0


def status(*, as_json: bool = False) -> bool:
    """Print it all, in lines or as one JSON object; return whether all work."""
    found = Addresses.current()
    running = processes(found)
    options = ("--json",) if as_json else ()
    reported = {service: _reported(found, service, options) for service in _SERVICES}
    is_well = all(each.is_running() for each in running) and all(
        each.returncode in _WORKING for each in reported.values()
    )
    if as_json:
        print(json.dumps(_figures(running, servers(found), reported) | {"is_well": is_well}))
    else:
        _print_lines(running, servers(found), reported)
    return is_well


def _reported(found: Addresses, service: str, options: Sequence[str]) -> CompletedProcess[str]:
    """Run a service's own ``status``; if it fails, its sentence is on standard error."""
    return subprocess.run(
        [str(program(service)), "status", "--check", *options],
        cwd=ROOT,
        env=os.environ | found.settings(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=_TIMEOUT_SECONDS,
    )


def _figures(
    running: Sequence[BackgroundProcess],
    used: Mapping[str, str],
    reported: Mapping[str, CompletedProcess[str]],
) -> dict[str, Any]:
    return {
        "processes": {each.name: {"pid": each.pid, "url": url(each.port)} for each in running},
        "servers": dict(used),
        "status": {
            service: json.loads(each.stdout) if each.stdout else None
            for service, each in reported.items()
        },
    }


def _print_lines(
    running: Sequence[BackgroundProcess],
    used: Mapping[str, str],
    reported: Mapping[str, CompletedProcess[str]],
) -> None:
    for process in running:
        state = f"pid {process.pid}" if process.is_running() else "not running"
        print(f"{process.name:<12}{state:<14}{url(process.port)}")
    for name, state in used.items():
        print(f"{name:<12}{state}")
    for service, each in reported.items():
        print(f"\n{service} status\n{each.stdout}", end="")
