"""AMQP's properties survive being parked: written as JSON and read back, they are the same."""

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode, encode
from pamqp.common import FieldTable

from replica.inbox.amqp_as_json import from_json, to_json
from replica.inbox.lenient_amqp import read_amqp_leniently

TAGS = ("$bytes", "$timestamp", "$decimal", "$float", "$table", "$other", "$")
NAMES = st.text(max_size=10) | st.sampled_from(TAGS)

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(fold=0))
)
VALUES = st.recursive(
    LEAVES,
    lambda members: st.lists(members, max_size=3) | st.dictionaries(NAMES, members, max_size=3),
    max_leaves=15,
)


def stored(value: Any) -> Any:
    return from_json(json.loads(json.dumps(to_json(value))))


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_whatever_a_table_holds_comes_back(table: dict[str, Any]) -> None:
    back = stored(table)
    assert back == table
    assert repr(back) == repr(table)  # 1, True and 1.0 are equal


@given(st.dictionaries(st.text(max_size=10), VALUES, max_size=5))
def test_no_json_is_too_odd_to_be_read(table: dict[str, Any]) -> None:
    """What something else wrote as JSON is read as something, and never raises."""
    from_json(json.loads(json.dumps(to_json(to_json(table)))))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda members: st.dictionaries(
            st.sampled_from(TAGS), members | st.lists(members), max_size=2
        ),
    )
)
def test_a_tag_that_says_nothing_is_a_name(value: Any) -> None:
    """A tag around what cannot be meant stays a table."""
    from_json(value)


def test_no_number_comes_back() -> None:
    assert math.isnan(stored({"a": [math.nan]})["a"][0])


@pytest.mark.parametrize("odd", [{"$bytes": "no base64!"}, {"$timestamp": 1}, {"$float": None}])
def test_what_was_not_made_here_is_left_as_it_is(odd: dict[str, Any]) -> None:
    """Rather than refused: a message must not become impossible to redrive."""
    assert from_json(odd) == odd


def test_sequences_come_back_as_amqp_has_them() -> None:
    """A list for a tuple, bytes for a bytearray: the client library makes no others."""
    assert stored({"a": (1, bytearray(b"x"))}) == {"a": [1, b"x"]}


def test_what_the_client_library_reads_comes_back() -> None:
    """Each type of AMQP 0-9-1 that it writes, through the wire and through the database."""
    read_amqp_leniently()
    sent: FieldTable = {
        "text": "ä\0",
        "octets": bytearray(b"\xff\0"),
        "no": None,
        "yes": True,
        "small": -1,
        "large": 2**62,
        "double": 1.5,
        "decimal": Decimal("3.14"),
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "table": {"$bytes": "YQ=="},
        "list": [1, {"a": [bytearray(b"x")]}],
    }
    _, read = decode.field_table(encode.field_table(sent))

    back = stored(read)

    assert back == read
    assert read["table"] == sent["table"]
