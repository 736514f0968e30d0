"""Start the measured processes: ours, with the settings of the stage, and their peers."""

import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType

import psutil

from benchmarks.processes import running
from benchmarks.stage import ISSUER, Stage
from local.keys import PRIVATE_KEY, PUBLIC_KEY, ensure_keys
from local.limits import LIMITS
from local.paths import program
from local.ports import free_port
from local.shutdown import NO_DELAY

Process = AbstractAsyncContextManager[psutil.Process]


def relay(
    stage: Stage,
    more: Mapping[str, str] = MappingProxyType({}),
    *,
    database_url: str | None = None,
) -> Process:
    """Run ``auth-service relay``, as it is shipped but for the settings in ``more``."""
    port = free_port()
    settings = {
        "AUTH_DATABASE_URL": database_url or stage.auth_url,
        "AUTH_AMQP_URL": stage.amqp_url,
        "AUTH_ISSUER": ISSUER,
        "AUTH_RELAY_PORT": str(port),
        **more,
    }
    command = [str(program("auth-service")), "relay"]
    return running("relay", command, settings, health_port=port)


def consumer(stage: Stage, more: Mapping[str, str] = MappingProxyType({})) -> Process:
    """Run ``blog-service consumer``, as it is shipped.

    Parameters:
        stage: the databases and the virtual host.
        more: more settings. Without those that name the source and an account there, the consumer
            never compares by itself.
    """
    port = free_port()
    settings = {
        "BLOG_DATABASE_URL": stage.blog_url,
        "BLOG_AMQP_URL": stage.amqp_url,
        "BLOG_CONSUMER_PORT": str(port),
        **more,
    }
    command = [str(program("blog-service")), "consumer"]
    return running("consumer", command, settings, health_port=port)


def api(stage: Stage, port: int) -> Process:
    """Run ``auth-service api``, as it is shipped, with the kind of key that ``make up`` creates."""
    ensure_keys()
    settings = {
        "AUTH_DATABASE_URL": stage.auth_url,
        "AUTH_ISSUER": ISSUER,
        "AUTH_PORT": str(port),
        "AUTH_PRIVATE_KEY": str(PRIVATE_KEY),
        **LIMITS,  # the load comes from one address
        **NO_DELAY,
    }
    return running("api", [str(program("auth-service")), "api"], settings, health_port=port)


def blog_api(stage: Stage, port: int) -> Process:
    """Run ``blog-service api``, as it is shipped, with only the public key."""
    command = [str(program("blog-service")), "api"]
    return running("blog_api", command, _blog_settings(stage, port), health_port=port)


def unverified_blog_api(stage: Stage, port: int) -> Process:
    """Run the same application with a caller that is read without verifying the token."""
    command = [sys.executable, "-m", "benchmarks.peers.unverified_blog"]
    return running("unverified_blog", command, _blog_settings(stage, port), health_port=port)


def bare_posts(stage: Stage, port: int) -> Process:
    """Run the list of posts as a bare FastAPI route on an asyncpg pool."""
    command = [sys.executable, "-m", "benchmarks.peers.bare_posts"]
    settings = {
        "PEER_REPLICA_URL": stage.blog_url.replace("+asyncpg", ""),
        "PEER_PORT": str(port),
    }
    return running("bare_posts", command, settings, health_port=port)


def polled_relay(stage: Stage) -> Process:
    """Run the outbox that is polled each second and published one by one."""
    command = [sys.executable, "-m", "benchmarks.peers.polled_relay"]
    return running("polled_relay", command, _peer_settings(stage))


def discarding_collector(port: int) -> Process:
    """Run a collector of traces that discards them."""
    command = [sys.executable, "-m", "benchmarks.peers.discarding_collector"]
    return running("discarding_collector", command, {"PEER_PORT": str(port)})


def faststream_consumer(stage: Stage) -> Process:
    """Run the FastStream handler with one upsert transaction per message."""
    command = [str(program("faststream")), "run", "benchmarks.peers.faststream_consumer:app"]
    return running("faststream_consumer", command, _peer_settings(stage))


def dramatiq_consumer(stage: Stage) -> Process:
    """Run the dramatiq actor with one transaction per message, on eight threads."""
    command = [str(program("dramatiq")), "benchmarks.peers.dramatiq_consumer"]
    options = ["--processes", "1", "--threads", "8"]
    return running("dramatiq_consumer", [*command, *options], _peer_settings(stage))


def _blog_settings(stage: Stage, port: int) -> dict[str, str]:
    ensure_keys()
    return {
        "BLOG_DATABASE_URL": stage.blog_url,
        "BLOG_ISSUER": ISSUER,
        "BLOG_PORT": str(port),
        "BLOG_PUBLIC_KEY": str(PUBLIC_KEY),
        **NO_DELAY,
    }


def _peer_settings(stage: Stage) -> dict[str, str]:
    return {
        "PEER_SOURCE_URL": stage.auth_url,
        "PEER_REPLICA_URL": stage.blog_url,
        "PEER_AMQP_URL": stage.amqp_url,
    }
