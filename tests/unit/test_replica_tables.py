"""A replica's table must be able to hold every event in any order."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.schema import SchemaItem

from blog_service.users.table import users
from replica.columns import FIELDS, NotAReplica
from replica.table import Replica
from tests.support.refusals import refusal

TIME = sa.DateTime(timezone=True)


def a_table(*items: SchemaItem, without: str = "") -> sa.Table:
    least: list[sa.Column[Any]] = [
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", TIME),
    ]
    kept = [column for column in least if column.name != without]
    return sa.Table("readers", sa.MetaData(), *kept, *items)


def test_a_replica_has_the_columns_that_its_service_chooses() -> None:
    """From the three required ones to all; the service's own columns are ignored."""
    own: list[SchemaItem] = [
        sa.Column("note", sa.Text),
        sa.Column("seen_at", TIME, nullable=False, server_default=sa.func.now()),
    ]

    assert Replica(a_table(), service="mailer").columns == ("id", "version", "deleted_at")
    chosen = Replica(
        a_table(sa.Column("roles", sa.ARRAY(sa.String)), *own), service="mailer"
    ).columns
    assert chosen == ("id", "version", "roles", "deleted_at")
    assert Replica(users, service="mailer").columns == tuple(FIELDS)


def test_a_table_that_cannot_hold_every_event_is_refused() -> None:
    """At the start, with the reason, and not with the first event that does not fit."""
    for items, without, reason in (
        ([], "version", "has no version"),
        ([], "id", "has no id"),
        ([sa.Column("version", sa.Integer)], "version", "is INTEGER; an event needs BIGINT"),
        ([sa.Column("id", sa.Text, primary_key=True)], "id", "is TEXT; an event needs UUID"),
        ([sa.Column("id", sa.Uuid)], "id", "primary key of readers is not id"),
        ([sa.Column("part", sa.Integer, primary_key=True)], "", "primary key of readers is not id"),
        ([sa.Column("email", sa.String(50))], "", "an event needs TEXT or VARCHAR"),
        ([sa.Column("created_at", sa.DateTime)], "", "an event needs TIMESTAMP WITH TIME ZONE"),
        ([sa.Column("email", sa.Text, nullable=False)], "", "readers.email must be nullable"),
        ([sa.Column("deleted_at", TIME, nullable=False)], "deleted_at", "must be nullable"),
        ([sa.Column("email", sa.Text, unique=True)], "", "readers.email must not be unique"),
        ([sa.Column("email", sa.Text), sa.UniqueConstraint("email")], "", "must not be unique"),
        (
            [
                email := sa.Column("email", sa.Text),
                sa.Index("i", sa.func.lower(email), unique=True),
            ],
            "",
            "readers.email must not be unique",
        ),
        ([sa.Column("note", sa.Text, nullable=False)], "", "readers.note: an event has no value"),
    ):
        table = a_table(*items, without=without)
        assert re.search(reason, str(refusal(NotAReplica, Replica, table, service="mailer")))


@pytest.mark.parametrize("also", [{"version": "1"}, {"nowhere": "1"}])
def test_also_may_only_name_the_services_own_columns(also: Mapping[str, Any]) -> None:
    """Not a field of events, and not a column that does not exist."""
    with pytest.raises(NotAReplica, match="has no column of its own"):
        Replica(a_table(), service="mailer", also=also)


def test_columns_that_a_tombstone_fills_may_be_not_null() -> None:
    """It has no roles and an unverified address, but the columns have values."""
    table = a_table(
        sa.Column("email_verified", sa.Boolean, nullable=False),
        sa.Column("roles", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
    )
    assert {"email_verified", "roles", "status"} < set(Replica(table, service="mailer").columns)
