"""A replica's table must be able to hold every event in any order."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.schema import SchemaItem

from blog_service.users.table import users
from replica.columns import FIELDS, NotAReplica
from replica.table import Replica
from tests.support.refusals import refusal

TIME = DateTime(timezone=True)


def a_table(*items: SchemaItem, without: str = "") -> Table:
    least: list[Column[Any]] = [
        Column("id", Uuid, primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("deleted_at", TIME),
    ]
    kept = [column for column in least if column.name != without]
    return Table("readers", MetaData(), *kept, *items)


def test_a_replica_has_the_columns_that_its_service_chooses() -> None:
    """From the three required ones to all; the service's own columns are ignored."""
    own: list[SchemaItem] = [
        Column("note", Text),
        Column("seen_at", TIME, nullable=False, server_default=func.now()),
    ]

    assert Replica(a_table(), service="mailer").columns == ("id", "version", "deleted_at")
    chosen = Replica(a_table(Column("roles", ARRAY(String)), *own), service="mailer").columns
    assert chosen == ("id", "version", "roles", "deleted_at")
    assert Replica(users, service="mailer").columns == tuple(FIELDS)


def test_a_table_that_cannot_hold_every_event_is_refused() -> None:
    """At the start, with the reason, and not with the first event that does not fit."""
    for items, without, reason in (
        ([], "version", "has no version"),
        ([], "id", "has no id"),
        ([Column("version", Integer)], "version", "is INTEGER; an event needs BIGINT"),
        ([Column("id", Text, primary_key=True)], "id", "is TEXT; an event needs UUID"),
        ([Column("id", Uuid)], "id", "primary key of readers is not id"),
        ([Column("part", Integer, primary_key=True)], "", "primary key of readers is not id"),
        ([Column("email", String(50))], "", "an event needs TEXT or VARCHAR"),
        ([Column("created_at", DateTime)], "", "an event needs TIMESTAMP WITH TIME ZONE"),
        ([Column("email", Text, nullable=False)], "", "readers.email must be nullable"),
        ([Column("deleted_at", TIME, nullable=False)], "deleted_at", "must be nullable"),
        ([Column("email", Text, unique=True)], "", "readers.email must not be unique"),
        ([Column("email", Text), UniqueConstraint("email")], "", "must not be unique"),
        (
            [email := Column("email", Text), Index("i", func.lower(email), unique=True)],
            "",
            "readers.email must not be unique",
        ),
        ([Column("note", Text, nullable=False)], "", "readers.note: an event has no value"),
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
        Column("email_verified", Boolean, nullable=False),
        Column("roles", ARRAY(Text), nullable=False),
        Column("status", Text, nullable=False),
    )
    assert {"email_verified", "roles", "status"} < set(Replica(table, service="mailer").columns)
