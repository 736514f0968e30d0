"""The whole system with its four processes running."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service_kit.http import trusted
from tests.support.proxy import Proxy
from tests.support.system import COMMANDS, Member, System, broker_behind_a_proxy, ended


@dataclass(frozen=True)
class Running:
    """The four processes, clients of both APIs, and the proxy between them and the broker."""

    system: System
    auth: httpx.AsyncClient
    blog: httpx.AsyncClient
    auth_api: Member
    relay: Member
    blog_api: Member
    consumer: Member
    broker: Proxy


@pytest.fixture
def system(
    auth_url: str, blog_url: str, amqp_url: str, private_pem: str, public_pem: str, tmp_path: Path
) -> System:
    """The system on fresh databases and a fresh virtual host; nothing is started."""
    return System(auth_url, blog_url, amqp_url, private_pem, public_pem, tmp_path)


@pytest.fixture
async def running(system: System, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """The system with its four processes, all ready; killed afterwards.

    An indirect parameter is more settings, by name.
    """
    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        settings = {
            "AUTH_AMQP_URL": amqp_url,
            "BLOG_AMQP_URL": amqp_url,
            "AUTH_RETRY_SECONDS_MAX": 0.5,
            "BLOG_RETRY_SECONDS_MAX": 0.5,
            **getattr(request, "param", {}),
        }
        processes = [system.process(command, **settings) for command in COMMANDS]
        auth_api, relay, blog_api, consumer = processes
        with ended(*processes):
            await asyncio.gather(*(process.ready() for process in processes))
            async with (
                httpx.AsyncClient(
                    base_url=auth_api.url, trust_env=False, verify=trusted.authorities(), timeout=20
                ) as auth,
                httpx.AsyncClient(
                    base_url=blog_api.url, trust_env=False, verify=trusted.authorities(), timeout=20
                ) as blog,
            ):
                yield Running(system, auth, blog, auth_api, relay, blog_api, consumer, proxy)
