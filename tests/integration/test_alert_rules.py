"""The alerts of `deploy/monitoring` say what they should, and fire when they should.

Prometheus' own tool checks them, with made-up series. `test_alerts.py` fires them by real faults.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.prometheus import (
    ALERTS,
    MONITORING,
    dashboard,
    dashboard_expressions,
    promtool,
    rules,
)

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "runbook.md"

JOBS = ("auth-api", "auth-relay", "blog-api", "blog-consumer")
UP = {f'up{{job="{job}", instance="{job}:1"}}': "1x400" for job in JOBS}

OLD = "usersync_outbox_oldest_unpublished_age_seconds"
BEAT = "usersync_heartbeat_age_seconds"
STATE = 'usersync_consumer_state{state="%s"}'
DEPTH = 'usersync_queue_depth{queue="%s"}'
DIFFERING = 'usersync_reconcile_differing_users{kind="%s"}'
PROOF = "usersync_proof_age_seconds"
REQUESTS = 'http_requests_total{job="blog-api", handler="/v1/posts", method="GET", status="%s"}'
KEY = "usersync_signing_key_activated_timestamp_seconds"
JWKS = "usersync_jwks_age_seconds"
DAY = 86_400

CASES: dict[str, list[tuple[dict[str, str], int, dict[str, str] | None]]] = {
    # Series by the minute, the minute to look at, and the labels of the alert, if there is one.
    "UsersyncProcessDown": [
        ({}, 5, None),
        ({'up{job="auth-api", instance="another:1"}': "0x20"}, 10, None),
        ({'up{job="auth-relay", instance="auth-relay:1"}': "1x5 0x20"}, 6, None),
        (
            {'up{job="auth-relay", instance="auth-relay:1"}': "1x5 0x20"},
            8,
            {"job": "auth-relay"},
        ),
        (
            {'up{job="blog-consumer", instance="blog-consumer:1"}': "1x5 stale"},
            9,
            {"job": "blog-consumer"},
        ),
    ],
    "UsersyncEventsNotPublished": [
        ({OLD: "0x5 50x20"}, 20, None),
        ({OLD: "0x5 61x20"}, 6, None),
        ({OLD: "0x5 61x20", f'{OLD}{{job="auth-api"}}': "0x30"}, 8, {}),
    ],
    "UsersyncNothingArrives": [
        ({BEAT: "15x20"}, 20, None),
        ({BEAT: " ".join(["NaN"] * 21)}, 20, None),
        ({BEAT: "15x5 46+60x20"}, 6, None),
        ({BEAT: "15x5 46+60x20"}, 8, {}),
    ],
    "UsersyncConsumerStopped": [
        ({STATE % "stopped": "0x20", STATE % "waiting": "1x20"}, 20, None),
        ({STATE % "stopped": "0x5 1x20"}, 8, {}),
    ],
    "UsersyncQueueBacklog": [
        ({DEPTH % "blog.users": "999x30", DEPTH % "blog.users.replay": "90000x30"}, 20, None),
        ({DEPTH % "blog.users": "2000x8 0x30"}, 9, None),
        ({DEPTH % "blog.users.urgent": "1001x30"}, 11, {"queue": "blog.users.urgent"}),
    ],
    "UsersyncMessagesParked": [
        ({"usersync_parked_messages": "0x20"}, 20, None),
        ({"usersync_parked_messages": "0x5 1x20"}, 8, {}),
    ],
    "UsersyncReplicaDiffers": [
        ({DIFFERING % "corrupt": "0x20", DIFFERING % "orphan": "0x20"}, 20, None),
        ({DIFFERING % "missing": "0x5 3 0x20"}, 8, None),
        ({DIFFERING % "corrupt": "0x5 1x20", DIFFERING % "orphan": "0x5 2x20"}, 8, {}),
    ],
    "UsersyncReplicaNotProved": [
        ({PROOF: "15x20"}, 20, None),
        ({PROOF: " ".join(["NaN"] * 21)}, 20, None),
        ({PROOF: "15x5 61+60x20"}, 7, None),
        ({PROOF: "15x5 61+60x20"}, 9, {}),
    ],
    "UsersyncServerErrors": [
        ({REQUESTS % "200": "0+100x20", REQUESTS % "404": "0+100x20"}, 20, None),
        ({REQUESTS % "200": "0x20", REQUESTS % "500": "0x5 1x2 2x20"}, 10, None),
        ({REQUESTS % "200": "0+100x20", REQUESTS % "503": "0+5x20"}, 20, None),
        ({REQUESTS % "200": "0+100x20", REQUESTS % "503": "0+6x20"}, 20, {"job": "blog-api"}),
    ],
    "UsersyncKeysNotFetched": [
        ({JWKS: "300x20"}, 20, None),
        ({JWKS: "3601x20"}, 4, None),
        ({JWKS: "3601x20"}, 6, {}),
        ({JWKS: " ".join(["+Inf"] * 21)}, 6, {}),
    ],
    "UsersyncSigningKeyOld": [
        # The time of these tests begins at 0.
        ({KEY: f"{-99 * DAY}x70"}, 70, None),
        ({KEY: f"{-100 * DAY - 1}x70"}, 59, None),
        ({KEY: f"{-100 * DAY - 1}x70"}, 61, {}),
    ],
}


def test_prometheus_accepts_the_files() -> None:
    promtool("check", "rules", ALERTS)
    promtool("check", "config", MONITORING / "prometheus.yml")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    """Its link leads to a section of the runbook, which says symptom, check and act."""
    assert rule["labels"]["severity"] in ("critical", "warning")
    summary = rule["annotations"]["summary"]
    assert re.search(r"\b(?:Run|Read|Look at|Check|Start|Remove)\b", summary), summary
    section = rule["alert"]
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{section.lower()}"
    _, found, after = RUNBOOK.read_text().partition(f"\n### {section}\n")
    assert found
    text = after.partition("\n#")[0]
    assert [word for word in ("Symptom", "Check", "Act") if f"**{word}:**" not in text] == []


def test_each_alert_fires_after_its_time_and_not_before(tmp_path: Path) -> None:
    """For a healthy system none fires."""
    assert CASES.keys() == {rule["alert"] for rule in rules()}
    groups = []
    for rule in rules():
        for series, minute, labels in CASES[rule["alert"]]:
            alert = {"alertname": rule["alert"], "eval_time": f"{minute}m", "exp_alerts": []}
            if labels is not None:
                alert["exp_alerts"] = [_fired(rule, labels)]
            given = [{"series": name, "values": values} for name, values in (UP | series).items()]
            groups.append({"interval": "1m", "input_series": given, "alert_rule_test": [alert]})
    tests = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": groups}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))

    promtool("test", "rules", tmp_path / "tests.yml")


def _fired(rule: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    def filled(text: str) -> str:
        return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda name: labels[name[1]], text)

    annotations = {name: filled(text) for name, text in rule["annotations"].items()}
    return {"exp_labels": rule["labels"] | labels, "exp_annotations": annotations}


def test_each_alert_is_fired_by_a_real_fault() -> None:
    """In `test_alerts.py`, and on the page that lists the faults."""
    faults = (ROOT / "tests" / "end_to_end" / "test_alerts.py").read_text()
    fired = {
        f"Usersync{name}"
        for names in re.findall(r"\.fires\(([^)]+)\)", faults)
        for name in re.findall(r'"(\w+)"', names)
    }
    listed = set(re.findall(r"`(Usersync\w+)`", (ROOT / "docs" / "monitoring.md").read_text()))
    assert fired == listed == {rule["alert"] for rule in rules()}


def test_alerts_and_dashboard_use_metrics_that_are_documented() -> None:
    documented = (ROOT / "docs" / "telemetry.md").read_text()
    used = {
        name
        for text in (ALERTS.read_text(), *dashboard_expressions())
        for name in re.findall(r"\b(?:usersync|http)_\w+", text)
    }
    missing = {
        name
        for name in used
        if not re.search(rf"`{re.sub('_(bucket|count|sum)$', '', name)}[`{{]", documented)
    }
    assert not missing


def test_the_dashboard_is_well_formed() -> None:
    """Grafana finds its data source and its place, and no panel hides another one."""
    panels = dashboard()["panels"]
    sources = yaml.safe_load(
        (MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    used = {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", ())}
    assert used == {source["uid"] for source in sources}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["title"]
