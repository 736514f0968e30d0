"""A cluster: the RabbitMQ node in use is killed, then PostgreSQL's primary."""

import json
import threading
import time

from deploy.trial.containers import Containers, require
from deploy.trial.people import Person, follow_an_event, require_agreement, slowest_arrival
from deploy.trial.people import try_sign_up as try_to_sign_up

GAP_SECONDS_MAX = 3.0
"""How long an event may take while a node is killed."""

_CAUGHT_UP = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"


def run(containers: Containers) -> None:
    """Start, kill the relay's node and the consumer's, then the primary, and compare."""
    containers.start()
    follow_an_event(containers)

    for node, whose in (("rabbitmq", "relay"), ("rabbitmq-2", "consumer")):
        # One that was killed before is back: a queue goes on with two of three.
        containers.wait("each queue has three members", lambda: _members_online(containers) == {3})
        follow_an_event(containers)
        killer = threading.Timer(3, containers.compose, ("kill", node))
        killer.start()
        gap = slowest_arrival(containers, 12)
        killer.join()
        containers.say(f"the node of the {whose} was killed: the longest gap was {gap:.2f} s")
        require(gap < GAP_SECONDS_MAX, f"{node}: events waited {gap:.1f} s")
        containers.bring_up()

    containers.wait(
        "the standby has everything", lambda: containers.sql("postgres", _CAUGHT_UP) == "1"
    )
    containers.compose("kill", "postgres")
    killed = time.monotonic()
    containers.compose("exec", "--no-TTY", "postgres-standby", "pg_ctl", "promote")
    containers.wait("people can sign up", lambda: isinstance(try_to_sign_up(), Person))
    follow_an_event(containers)
    containers.say(f"{time.monotonic() - killed:.1f} s from the primary's end to a known user")
    require_agreement(containers)


def _members_online(containers: Containers) -> set[int]:
    """How many members of the queues run."""
    shown = containers.compose(
        *("exec", "--no-TTY", "rabbitmq", "rabbitmqctl", "--quiet", "--formatter=json"),
        *("list_queues", "--vhost=usersync", "name", "online"),
    )
    return {len(queue["online"]) for queue in json.loads(shown)}
