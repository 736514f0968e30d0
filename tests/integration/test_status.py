"""``blog-service status`` and ``reconcile``: output, exit codes, and the consumer's metrics."""

import re
import signal
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from replica.inbox.activity import HEARTBEAT_SECONDS_MAX
from replica.reconcile.model import Reason
from replica.reconcile.run import INTERRUPTED
from replica.reconcile.runs import Run
from replica.status.bodies import StatusBody
from replica.status.model import DEPTH_MAX, pipe
from tests.support.builders import a_state, an_event
from tests.support.commands import Command
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, execute, fetch
from tests.support.processes import Process
from tests.support.reconciling import DAMAGE, Pair
from tests.support.settings import having
from tests.support.source import DEAD, LIVE, REPLAY, URGENT


@pytest.fixture
def command(command: Command, amqp_url: str) -> Command:
    return command.having(BLOG_AMQP_URL=amqp_url, logs=False)


HERE = {"consumers": 2, "consumers_stopped": 1, "consumer_age_seconds": 1.0}
GONE = {"consumers": 0, "consumers_stopped": 0, "consumer_age_seconds": 90.0}
NEVER = {**GONE, "consumer_age_seconds": None}
STOPPED = {**HERE, "consumers_stopped": 2}


def test_messages_that_are_set_aside_are_reported_with_user_and_reason() -> None:
    """A silent source takes precedence, unless its heartbeat is set aside as well."""
    figures: dict[str, Any] = {"queue_depth": 0, "knows_queue": True, **HERE, "set_aside": 3}
    figures |= {"set_aside_reasons": ["row_held"]}
    for age, held, line in [
        (1.0, "user c887", "behind: 3 messages wait for what another database session holds (user"),
        (90.0, "user c887f14f", "broken: no heartbeat for 90 s"),
        (90.0, "heartbeats of x", "behind: 3 messages wait"),
    ]:
        assert pipe(heartbeat_age_seconds=age, set_aside_for=[held], **figures).startswith(line)


def test_the_maximum_heartbeat_age_is_a_setting() -> None:
    for age, line in [(180.0, "quiet"), (181.0, "broken: no heartbeat for 181 s")]:
        figures: dict[str, Any] = {"queue_depth": 0, "knows_queue": True, **HERE}
        assert pipe(heartbeat_age_seconds=age, heartbeat_seconds_max=180.0, **figures) == line


def test_the_first_line_summarises_the_pipe() -> None:
    """Heartbeats tell quiet from broken, queues late from lost; missing consumers are named."""
    cases: list[tuple[float | None, int | None, bool, dict[str, Any], str]] = [
        (None, None, False, NEVER, "broken: no consumer has ever been at work"),
        (None, 5, True, HERE, "broken: no heartbeat of the source yet"),
        (1.0, None, True, GONE, "broken: no broker"),
        (1.0, None, True, HERE, "broken: no broker"),
        (1.0, None, False, GONE, "broken: no consumer for 90 s"),
        (1.0, 7, True, GONE, "broken: no consumer for 90 s; 7 messages wait"),
        (1.0, 7, True, STOPPED, "broken: the consumer has stopped, for too many"),
        (HEARTBEAT_SECONDS_MAX, 0, True, HERE, "quiet"),
        (HEARTBEAT_SECONDS_MAX, DEPTH_MAX, True, HERE, "consuming"),
        (1.0, DEPTH_MAX + 1, True, HERE, "behind: 1,001 messages wait"),
        (HEARTBEAT_SECONDS_MAX + 1, 3, True, HERE, "behind: 3 messages wait, and the last heart"),
        (HEARTBEAT_SECONDS_MAX + 1, 0, True, HERE, "broken: no heartbeat for 46 s"),
        (3600.0, 0, True, HERE, "broken: no heartbeat for 3,600 s"),
    ]
    for age, depth, knows, consumers, expected in cases:
        line = pipe(heartbeat_age_seconds=age, queue_depth=depth, knows_queue=knows, **consumers)
        assert line.startswith(expected)


class TestStatus:
    """``blog-service status``."""

    async def test_a_healthy_replica_shows_all_figures(self, pair: Pair, command: Command) -> None:
        ended = await pair.reconcile()
        await pair.damage(DAMAGE["missing"])
        await pair.reconcile(repair=True)
        await execute(pair.blog, A_SAMPLE)

        scripted, human = await command("status --json"), await command("status")
        checked = await command("status --check")
        await execute(pair.blog, "UPDATE reconcile_runs SET verdict = 'drift', repaired = '{}'")
        drifted = await command("status --check --json")

        figures = scripted.figures
        for shown in (scripted, human):
            assert (shown.returncode, shown.stderr) == (0, "")
        assert (checked.returncode, drifted.returncode) == (0, 1)
        assert figures.keys() == StatusBody.model_fields.keys()
        assert ended.compared == 200
        counts = ("users_provisional", "parked_messages", "consumers_stopped", *DEPTHS)
        expected = {
            "pipe": "quiet",
            "users": 180,
            "users_deleted": 20,
            "highest_version": 1700000000000200,
            "consumers": 1,
            "lag_seconds": 0.25,
            "last_reconcile": "in_step",
            "last_reconcile_reason": "operator",
            "last_reconcile_users": 200,
            "last_reconcile_differing": 1,
            "last_reconcile_repaired": 1,
            **dict.fromkeys(("degraded", "last_reconcile_explanation")),
            **dict.fromkeys(counts, 0),
        }
        assert figures.items() >= expected.items()
        assert figures["last_heartbeat"] >= 1
        assert 0 <= figures["last_heartbeat_age_seconds"] < 30
        first, second, *rest = human.stdout.splitlines()
        lines = dict(re.split(r"  +", line, maxsplit=1) for line in rest)
        assert first == figures["proof"]["text"] == "not proved: proofs are off"
        assert second == figures["agreement"]["text"] == "agreement: not known yet"
        assert {"proof", "agreement", *lines} == {name.replace("_", " ") for name in figures}
        assert (lines["pipe"], lines["last reconcile"]) == ("quiet", "in_step")
        assert (lines["highest version"], lines["degraded"]) == ("1,700,000,000,000,200", "-")

    async def test_a_new_installation_is_shown_as_broken_and_empty(self, command: Command) -> None:
        """The queues do not exist yet, or there is no broker."""
        figures = (await command("status --json")).figures
        away = await command("status --json", BLOG_AMQP_URL="amqp://guest:guest@127.0.0.1:1/")
        assert figures["pipe"].startswith("broken: no broker, or no queue")
        assert (figures["queue_depth"], figures["last_heartbeat"]) == (None, None)
        assert (figures["degraded"], figures["last_reconcile"]) == ("empty", None)
        assert (away.returncode, away.stderr, away.figures["users"]) == (0, "", 0)
        assert {away.figures[name] for name in DEPTHS} == {None}
        assert away.figures["pipe"].startswith("broken")

    async def test_queue_depths_are_the_brokers(self, command: Command, inbox: Inbox) -> None:
        await inbox.declare()
        await inbox.source.publish(*(an_event(a_state()) for _ in range(3)))
        await inbox.source.replay(*(an_event(a_state()) for _ in range(2)))
        await inbox.source.publish_raw(b"given up", exchange="", routing_key=DEAD)
        await inbox.source.publish_raw(b"urgent", exchange="", routing_key=URGENT)
        for queue, messages in ((LIVE, 3), (URGENT, 1), (REPLAY, 2), (DEAD, 1)):
            await inbox.source.has_ready(messages, queue)
        late = "INSERT INTO heartbeats (source, number, recorded_at) VALUES ('x', 1, now() - {})"
        await execute(inbox.engine, late.format("interval '2 minutes'"), A_SAMPLE)

        figures = (await command("status --json")).figures

        assert [figures[name] for name in DEPTHS] == [3, 1, 2, 1]
        assert figures["pipe"].startswith("behind: 3 messages wait, and the last heartbeat is")


class TestReconcile:
    """``blog-service reconcile`` exits with 0: in step, 1: drift, 2: could not compare."""

    @pytest.fixture
    def command(self, command: Command, pair: Pair) -> Command:
        return command.having(logs=False, **pair.account)

    async def test_in_step_is_one_line_with_exit_code_0_and_no_source_is_2(
        self, pair: Pair, command: Command
    ) -> None:
        ended = await command("reconcile")
        [run] = await fetch(pair.blog, "SELECT * FROM reconcile_runs")
        away = command.having(BLOG_AUTH_URL="http://127.0.0.1:1", logs=False)
        human, scripted = await away("reconcile"), await away("reconcile --json")

        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == f"in step: 200 users, 0 differ, as of {run.source_at:%F %T}Z\n"
        assert (run.reason, run.repairs) == ("operator", [])
        assert run.requested_by.startswith("operator:")
        assert (human.returncode, scripted.returncode) == (2, 2)
        verdict, why, *_ = human.stdout.splitlines()
        assert verdict == "could not compare: there is no verdict"
        assert why.startswith("the source does not")
        assert scripted.figures["verdict"] == "could_not_compare"
        assert "BLOG_AUTH_URL" in scripted.figures["explanation"]
        assert scripted.figures["findings"] is None

    async def test_drift_is_shown_by_kind_with_remedies(self, pair: Pair, command: Command) -> None:
        await pair.damage(DAMAGE["missing"], DAMAGE["ahead"])

        found = await command("reconcile")
        repaired = await command("reconcile --repair")
        scripted = await command("reconcile --repair --ahead --json")
        last = await command("reconcile")

        assert [each.returncode for each in (found, repaired, scripted, last)] == [1, 1, 0, 0]
        assert found.stdout.startswith("drift: 200 users, 2 differ, as of ")
        assert re.search(r"^missing +1 +0  at the source, not here +--repair$", found.stdout, re.M)
        assert re.search(r"^ahead +1 +0  a newer version .* --ahead$", found.stdout, re.M)
        ids = {str(row.id) for row in await fetch(pair.auth, OF_TWO)}
        assert {line.split()[0] for line in found.stdout.splitlines() if "-" in line[:20]} >= ids
        assert repaired.stdout.startswith("drift: 200 users, 2 differ, 1 repaired, as of ")
        assert re.search(r"^missing +1 +1  at the source, not here$", repaired.stdout, re.M)
        figures = scripted.figures
        assert figures.keys() == {each.name for each in fields(Run)}
        assert (figures["verdict"], figures["compared"]) == ("in_step", 200)
        assert (figures["differing"], figures["repaired"]) == ({"ahead": 1}, {"ahead": 1})
        assert figures["repairs"] == ["ahead", "corrupt", "missing", "stale", "undeleted"]
        [finding] = figures["findings"]
        assert finding["source_version"] + 1 == finding["replica_version"]
        shown = (finding["kind"], finding["repaired"], finding["user_id"] in ids)
        assert shown == ("ahead", True, True)

    async def test_a_mistyped_command_is_listed_and_changes_nothing(
        self, pair: Pair, command: Command, unused_port: int
    ) -> None:
        """A run that never compared changes no verdict, pins no source, and repairs nothing."""
        await command("reconcile")
        await pair.damage(DAMAGE["missing"])
        before = _state((await command("status --json")).figures)
        away = {"BLOG_AUTH_URL": f"http://127.0.0.1:{unused_port}"}
        mistakes = {
            f"reconcile --repair --accept-source {UUID(int=0)}": {},
            f"reconcile --repair --accept-source {uuid4()} --json": {},
            "reconcile --repair": {"BLOG_API_KEY": "usersync_wrong"},
            "reconcile --ahead": {"BLOG_SERVICE_ID": "svc_0000000000000000"},
            "reconcile --orphans": away,
            "reconcile": {**away, "BLOG_AUTH_URL": "http://[::1]:9"},
        }

        ended = [await command(mistake, **settings) for mistake, settings in mistakes.items()]

        after = (await command("status --json")).figures
        assert [each.returncode for each in ended] == [2] * len(mistakes)
        assert f"--accept-source names {UUID(int=0)}, but the source" in ended[0].stdout
        assert before["last_reconcile"] == "in_step"
        assert (_state(after), after["reconcile_trouble"]) == (before, None)
        listed = await fetch(pair.blog, "SELECT * FROM reconcile_runs ORDER BY requested_at")
        assert all(run.explanation and run.source is None for run in listed[1:])
        assert len(listed) == 1 + len(mistakes)
        assert not await pair.agrees()
        assert (await command("reconcile --repair")).returncode == 0

    async def test_another_source_needs_its_identity(self, pair: Pair, command: Command) -> None:
        """From then on the replica follows the named source."""
        await command("reconcile")
        await execute(pair.auth, "UPDATE source SET identity = gen_random_uuid()")
        [source] = await fetch(pair.auth, "SELECT identity FROM source")
        [former] = await fetch(pair.blog, "SELECT source FROM reconcile_runs")

        named = [f" --accept-source {name}" for name in (former.source, source.identity)]
        codes = [(await command(f"reconcile{option}")).returncode for option in ("", *named, "")]

        assert codes == [2, 2, 0, 0]

    async def test_an_interrupted_run_has_its_own_exit_code(
        self, pair: Pair, command: Command, blog_url: str, tmp_path: Path
    ) -> None:
        """After Ctrl-C the run is listed as interrupted, and the last verdict stays."""
        await command("reconcile")
        before = _state((await command("status --json")).figures)
        async with pair.proxied() as (proxy, address):
            proxy.swallow_answers()
            settings = pair.account | {"BLOG_DATABASE_URL": blog_url, "BLOG_AUTH_URL": address}
            process = Process("blog-service reconcile --repair", settings, tmp_path / "log")
            process.start()
            await eventually(lambda: fetch(pair.blog, f"{RUNNING} AND phase IS NOT NULL"))
            process.signal(signal.SIGINT)
            code = await process.ended()

        [_, run] = await fetch(pair.blog, "SELECT * FROM reconcile_runs ORDER BY requested_at")
        assert code == 130
        assert (run.verdict, run.explanation) == ("could_not_compare", INTERRUPTED)
        assert _state((await command("status --json")).figures) == before

    async def test_failures_of_automatic_runs_are_shown(self, pair: Pair, command: Command) -> None:
        await pair.reconcile()
        away = having(pair.settings, auth_url="http://127.0.0.1:1")
        await pair.reconcile(settings=away, reason=Reason.SCHEDULE)

        failing = (await command("status --json")).figures
        await command("reconcile")
        compared = (await command("status --json")).figures

        assert failing["last_reconcile"] == "in_step"
        assert "does not respond" in failing["reconcile_trouble"]
        assert compared["reconcile_trouble"] is None


async def test_missing_settings_are_named(command: Command) -> None:
    none = await command("reconcile")
    some = await command("reconcile", BLOG_AUTH_URL="http://127.0.0.1:1")
    assert (none.returncode, some.returncode, some.stdout) == (2, 2, "")
    assert "set BLOG_AUTH_URL, BLOG_SERVICE_ID and BLOG_API_KEY" in none.stdout
    assert "BLOG_SERVICE_ID and BLOG_API_KEY: set it as well" in some.stderr


RUNNING = "SELECT 1 FROM reconcile_runs WHERE finished_at IS NULL AND started_at IS NOT NULL"


def _state(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if "reconcile" in name}


A_SAMPLE = (
    "INSERT INTO samples (process, state, latency_seconds, applied)"
    " VALUES (gen_random_uuid(), 'consuming', 0.25, 1)"
)
DEPTHS = ("queue_depth", "urgent_queue_depth", "replay_queue_depth", "dead_queue_depth")
OF_TWO = "SELECT id FROM users WHERE email IN ('user1@example.org', 'user4@example.org')"
