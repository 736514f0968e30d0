"""Which tables may hold a replica: those that can hold every event, in every order."""

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
from replica.table import FIELDS, NotAReplica, Replica

TIME = DateTime(timezone=True)


def a_table(*items: SchemaItem, without: str = "") -> Table:
    """The least that a replica needs, and more; without one of the columns."""
    least: list[SchemaItem] = [
        Column("id", Uuid, primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("deleted_at", TIME),
    ]
    kept = [item for item in least if isinstance(item, Column) and item.name != without]
    return Table("readers", MetaData(), *kept, *items)


def test_a_replica_holds_what_its_service_wants() -> None:
    """From three columns to all of them; the service's own stand beside them."""
    own: list[SchemaItem] = [
        Column("note", Text),
        Column("seen_at", TIME, nullable=False, server_default=func.now()),
    ]

    assert Replica(a_table()).columns == ("id", "version", "deleted_at")
    assert Replica(a_table(Column("roles", ARRAY(String)), *own)).columns == (
        *("id", "version", "roles", "deleted_at"),
    )
    assert Replica(users).columns == FIELDS


@pytest.mark.parametrize(
    ("items", "without", "reason"),
    [
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
    ],
)
def test_a_table_that_cannot_hold_every_event_is_refused(
    items: list[SchemaItem], without: str, reason: str
) -> None:
    """At the start, with the reason, instead of at the first event that does not fit."""
    with pytest.raises(NotAReplica, match=reason):
        Replica(a_table(*items, without=without))


@pytest.mark.parametrize("also", [{"version": "1"}, {"nowhere": "1"}])
def test_what_is_written_besides_is_the_services_own(also: Mapping[str, Any]) -> None:
    """No field of an event is overruled, and no column is made up."""
    with pytest.raises(NotAReplica, match="has no column of its own"):
        Replica(a_table(), also=also)


def test_what_must_not_be_cleared_may_be_required() -> None:
    """Of a deleted user these have a value too: no roles, an address that is not verified."""
    table = a_table(
        Column("email_verified", Boolean, nullable=False),
        Column("roles", ARRAY(Text), nullable=False),
        Column("status", Text, nullable=False),
    )

    assert {"email_verified", "roles", "status"} < set(Replica(table).columns)
