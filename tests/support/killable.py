"""A process of a test's system, as `local` kills and starts the processes of `make up`."""

import os
import signal
from dataclasses import dataclass

import httpx

from local.waiting import wait_until
from tests.support.system import Member

_READY_SECONDS_MAX = 60.0


@dataclass
class Killable:
    """One of the four processes."""

    member: Member

    @property
    def pid(self) -> int | None:
        return self.member.pid if self.member.is_running else None

    def kill(self) -> None:
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.member.kill()

    def start(self) -> None:
        if not self.member.is_running:
            self.member.start()

    def wait_until_ready(self) -> None:
        assert wait_until(self._responds, _READY_SECONDS_MAX)

    def _responds(self) -> bool:
        try:
            return httpx.get(f"{self.member.url}/readyz", trust_env=False).is_success
        except httpx.HTTPError:
            return False
