"""Documents name only tests, files, metrics and log events that exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from compatibility.collect.telemetry import telemetry
from tests.support.log_ids import promised

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md")]


def test_every_test_named_in_a_table_exists() -> None:
    """A renamed or deleted test must not leave a promise without proof."""
    for document in (
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/reliability.md",
        "docs/security.md",
    ):
        named = set(
            re.findall(r"`(?:\w+/)?(test_\w+(?:\.py)?|Test\w+)`", (ROOT / document).read_text())
        )
        files = list(ROOT.glob("tests/**/test_*.py"))
        there = {
            name
            for file in files
            for name in re.findall(r"(?:def|class) (test_\w+|Test\w+)[(:]", file.read_text())
        }

        assert named, "the tables are gone"
        assert named <= there | {file.name for file in files}, document


def test_every_log_event_is_documented() -> None:
    """The table lists every logged event, and no event that the code stopped logging."""
    table = (ROOT / "docs/telemetry.md").read_text().partition("| log event |")[2]
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    logged = {
        name
        for package in ("auth_service", "blog_service", "contracts", "replica", "service_kit")
        for file in ROOT.glob(f"{package}/**/*.py")
        for name in re.findall(
            r"\b(?:log\.(?:debug|info|warning|error|exception|critical)|_say|_warn_once|tell)\(\s*\"([^\"]+)\"",
            file.read_text(),
        )
    }
    repeated = {
        f"{name}.{failure}"
        for package in ("auth_service", "blog_service", "replica", "service_kit")
        for file in ROOT.glob(f"{package}/**/*.py")
        for name in re.findall(r"\brepeat\(\s*\"([^\"]+)\"", file.read_text())
        for failure in ("database_away", "unexpected")
    }

    assert logged | repeated == listed


def test_real_lines_of_each_log_event_with_ids_are_tested() -> None:
    """A test compares lines of the running code with each row of the table of ids."""
    tests = "".join(file.read_text() for file in ROOT.glob("tests/**/test_*.py"))
    named = set(re.findall(r"\"([a-z_]+\.[a-z_]+|authn_\w+)\"", tests))
    assert "assert_has_ids" in tests
    assert promised().keys() <= named


PROCESSES = (
    *("auth_service.app", "auth_service.relay_process", "blog_service.app", "replica.consume"),
    "service_kit.process.tracing.sender",  # imported only when traces are on
)
"""What processes import when they start, with their metrics."""


def test_every_metric_is_documented_with_its_labels() -> None:
    """The table lists every metric of ours, and none that no process has."""
    for module in PROCESSES:
        import_module(module)
    has = {
        each._name + ("_total" if each._type == "counter" else ""): sorted(each._labelnames)
        for each in REGISTRY._collector_to_names
        if isinstance(each, MetricWrapperBase)
    }

    listed = telemetry((ROOT / "docs/telemetry.md").read_text())["metrics"]

    assert listed == has


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_point_to_existing_files(document: Path) -> None:
    """Checks links inside the repository; external links are not fetched."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


WRITES = re.compile(
    r"\b(?:INSERT INTO|UPDATE|DELETE FROM|TRUNCATE) (\w+)|\b(?:insert|update|delete)\((\w+)\)"
)


@pytest.mark.parametrize(
    ("service", "packages"), [("auth", ["auth_service"]), ("blog", ["blog_service", "replica"])]
)
def test_only_the_named_modules_write_a_table(service: str, packages: list[str]) -> None:
    """ARCHITECTURE names each table, and each module with a statement that writes it."""
    rows = re.findall(
        rf"^\| {service} (.+?) \| (.+?) \|$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE
    )
    writers = {
        table.rstrip("…"): re.findall(r"[`\[]([\w/.]+)[`\]]", named)
        for tables, named in rows
        for table in re.findall(r"`(\w+…?)`", tables)
    }
    sources = {
        str(file.relative_to(ROOT)): file.read_text()
        for package in packages
        for file in ROOT.glob(f"{package}/**/*.py")
    }
    tables = {
        table for text in sources.values() for table in re.findall(r"\bTable\(\s*\"(\w+)\"", text)
    }

    def named(table: str) -> list[str]:
        return [
            module
            for name, modules in writers.items()
            if table.startswith(name)
            for module in modules
        ]

    assert not [table for table in tables if not named(table)]
    assert not [
        (path, table)
        for path, text in sources.items()
        for table in map("".join, WRITES.findall(text))
        if table in tables and not any(module in path for module in named(table))
    ]
