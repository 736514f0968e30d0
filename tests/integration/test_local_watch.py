"""The demonstration reads both databases correctly under any role settings."""

from sqlalchemy.ext.asyncio import AsyncEngine

from local.addresses import Addresses, Ports
from local.compare import compare
from local.postgres_server import PostgresServer
from local.watch import Proof, Sample, Watch
from tests.support.builders import SOURCE, a_state
from tests.support.hostile import set_on_role
from tests.support.inbox import apply_events


async def test_role_settings_do_not_change_the_measurements(
    postgres: PostgresServer, auth_url: str, blog_url: str, amqp_url: str, blog_engine: AsyncEngine
) -> None:
    """Neither of the live view nor of the final comparison."""
    await apply_events(blog_engine, a_state())
    addresses = Addresses(Ports(), SOURCE, auth_url, blog_url, amqp_url, amqp_url)
    with set_on_role(postgres, auth_url), set_on_role(postgres, blog_url):
        async with Watch.on(addresses) as watch:
            expected = Sample(replica_users=1, proof=Proof(text="not proved: proofs are off"))
            assert await watch.next() == expected
            assert await watch.next() == expected  # in the same sessions
        assert (await compare(auth_url, blog_url)).differing == 1
