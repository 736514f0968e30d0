"""The demonstration, on the test's own system: what it breaks heals, and its pictures show it."""

import os
import signal
from dataclasses import dataclass

import httpx

from local.addresses import Addresses, Ports
from local.demo.play import Pace, Play
from local.demo.run import scene_of
from local.demo.scene import Mood, Story
from local.traffic import Traffic
from local.waiting import wait_until
from local.watch import Watch
from tests.support.builders import SOURCE
from tests.support.system import Member, System
from tests.support.whole import running


@dataclass
class Killable:
    """A consumer of the tests, as the demonstration takes it."""

    member: Member

    @property
    def pid(self) -> int | None:
        return self.member.pid if self.member.is_running else None

    def kill(self) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)
        self.member.kill()

    def start(self) -> None:
        self.member.start()

    def wait_until_ready(self) -> None:
        url = f"{self.member.url}/readyz"
        assert wait_until(lambda: _responds(url), 60)


def _responds(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


async def test_the_demonstration_breaks_heals_and_proves(system: System) -> None:
    """A killed consumer, a deleted row and an edited one, under traffic; in the end all agree."""
    settings = {"AUTH_HEARTBEAT_SECONDS": 1, "BLOG_HEARTBEAT_SECONDS_MAX": 3}
    async with running(system, **settings) as whole:
        auth_api, _, blog_api, consumer = whole.processes.values()
        addresses = Addresses(
            Ports(), SOURCE, system.auth_url, system.blog_url, system.amqp_url, system.amqp_url
        )
        story, traffic = Story(), Traffic(auth_api.url, blog_api.url)
        async with Watch.on(addresses) as watch:
            play = Play(
                story, traffic, watch, Killable(consumer), system.blog_url, Pace(calm=2, away=1)
            )
            await play.run()
            scene = scene_of(play)

        assert await whole.agrees()
        assert [mood for mood in Mood if mood in {each.mood for each in story.moments}] == [*Mood]
        assert any(each.text.startswith("named after ") for each in story.moments)
        assert scene.last.mood is Mood.PROVED
        assert scene.last.text.endswith(" users, 0 differ")
        assert scene.now.behind == 0
        assert traffic.counts["surprises"] == 0
