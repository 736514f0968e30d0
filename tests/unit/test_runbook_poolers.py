"""The runbook's settings for poolers match the startup parameters of our sessions."""

import re
from pathlib import Path

from service_kit.database.sessions import SINCE_17, Session

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
KNOWN_TO_PGBOUNCER = {"application_name", "datestyle", "standard_conforming_strings", "timezone"}
"""PgBouncer sets these itself in each session that it lends."""


def test_the_runbook_names_every_startup_parameter() -> None:
    """PgBouncer refuses a connection with any other one."""
    session = Session("x", "public", statement_ms=0, lock_ms=0, idle_in_transaction_ms=0)
    [named] = re.findall(r"ignore_startup_parameters = (.+)", RUNBOOK.read_text())
    sent = session.startup() | SINCE_17
    assert set(named.split(", ")) == set(sent) - KNOWN_TO_PGBOUNCER
