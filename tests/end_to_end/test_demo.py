"""The demonstration, on the test's own system: what it breaks heals, and its pictures show it."""

from local.addresses import Addresses, Ports
from local.demo.play import Pace, Play
from local.demo.run import scene_of
from local.demo.scene import Mood, Story
from local.traffic import Traffic
from local.watch import Watch
from tests.support.builders import SOURCE
from tests.support.killable import Killable
from tests.support.system import System
from tests.support.whole import running


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
