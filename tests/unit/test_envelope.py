"""Encoding and decoding of events: what is written can be read, the rest raises ``Undecodable``."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.events import (
    EMAIL_LENGTH_MAX,
    VERSION_MAX,
    Beat,
    Data,
    Event,
    Heartbeat,
    KeyRevoked,
    RevokedKey,
    ServiceChanged,
    ServiceState,
    UserCreated,
    UserDeleted,
    UserEvent,
    UserState,
    UserTombstone,
    UserUpdated,
)
from contracts.events.envelope import (
    BODY_BYTES_MAX,
    Fault,
    StoredEvent,
    Undecodable,
    decode,
    encode,
    encode_stored,
    legible_user,
)
from tests.support.builders import NOON, SOURCE, a_state, a_tombstone, an_event
from tests.support.refusals import refusal
from tests.support.states import FIELDS

PREFIXES = ("cloudEvents_", "cloudEvents:")
NAMES = (
    *("specversion", "id", "source", "type", "time", "dataschema", "sequence", "subject"),
    *("partitionkey", "subjectversion", "traceparent"),
)


@dataclass
class Delivery:
    """A message as it arrives."""

    headers: dict[str, Any] | None = field(default_factory=dict)
    body: bytes = b""


def delivery_of(event: Event) -> Delivery:
    message = encode(event)
    return Delivery(dict(message.headers), message.body)


def changed(event: Event, body: bytes | None = None, **headers: Any) -> Delivery:
    """Return the message of ``event`` with another body or headers (None removes a header)."""
    delivery = delivery_of(event)
    assert delivery.headers is not None
    for name, value in headers.items():
        delivery.headers[f"cloudEvents_{name}"] = value
    delivery.headers = {
        name: value for name, value in delivery.headers.items() if value is not None
    }
    return delivery if body is None else Delivery(delivery.headers, body)


def body_of(event: Event, **changes: Any) -> bytes:
    return json.dumps(json.loads(encode(event).body) | changes).encode()


def fault_of(delivery: Delivery) -> Fault:
    return refusal(Undecodable, decode, delivery).fault


zones = st.one_of(
    st.just(UTC), st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
)
instants = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001
versions = st.integers(1, VERSION_MAX)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
email = st.text(st.characters(exclude_categories=["Cs"]), min_size=3, max_size=EMAIL_LENGTH_MAX)
states = st.builds(
    UserState, **FIELDS | {"email": email, "roles": st.lists(texts, max_size=32).map(tuple)}
)
revoked_keys = st.builds(
    RevokedKey, kid=st.from_regex(r"[!-~]{1,128}", fullmatch=True), revoked_at=instants
)
services = st.builds(
    ServiceState,
    client_id=st.from_regex(r"svc_[A-Za-z0-9._-]{1,60}", fullmatch=True),
    version=versions,
    status=st.sampled_from(["active", "disabled", "deleted"]),
    tokens_valid_after=instants,
)
attributes: dict[str, st.SearchStrategy[Any]] = {
    "id": st.uuids(),
    "source": texts,
    "time": instants,
    "sequence": st.none() | st.integers(0, VERSION_MAX),
    "traceparent": st.none() | texts,
}


@st.composite
def deletions(draw: st.DrawFn) -> UserDeleted:
    """Generate a deletion, whose time is that of its data."""
    common = {name: draw(strategy) for name, strategy in attributes.items()}
    data = UserTombstone(id=draw(st.uuids()), version=draw(versions), deleted_at=common["time"])
    return UserDeleted(**common, data=data)


events: st.SearchStrategy[Event] = st.one_of(
    st.builds(UserCreated, **attributes, data=states),
    st.builds(UserUpdated, **attributes, data=states),
    deletions(),
    st.builds(Heartbeat, **attributes, data=st.builds(Beat, number=versions)),
    st.builds(KeyRevoked, **attributes, data=revoked_keys),
    st.builds(ServiceChanged, **attributes, data=services),
)
amqp_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.decimals(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
    | st.datetimes()
    | instants,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)
bodies = st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "version", "email", "number", "x"]), inner)
    ),
).map(lambda value: json.dumps(value).encode())


class TestRoundTrip:
    """``decode`` reads what ``encode`` writes."""

    @given(events)
    def test_decoding_an_encoded_event_returns_the_event(self, event: Event) -> None:
        read = decode(delivery_of(event))
        assert read == event
        assert type(read) is type(event)

    @given(events)
    def test_both_spellings_of_header_names_are_accepted(self, event: Event) -> None:
        """The AMQP binding allows ``cloudEvents:`` and ``cloudEvents_``."""
        message = encode(event)
        other = {name.replace("_", ":", 1): value for name, value in message.headers.items()}
        read = decode(Delivery(other, message.body))
        assert read == event

    @given(events)
    def test_native_amqp_types_are_accepted(self, event: Event) -> None:
        """Times as AMQP timestamps, numbers as integers."""
        message = encode(event)
        native = dict(message.headers)
        native["cloudEvents_time"] = event.time
        for name in ("sequence", "subjectversion"):
            if f"cloudEvents_{name}" in native:
                native[f"cloudEvents_{name}"] = int(str(native[f"cloudEvents_{name}"]))

        read = decode(Delivery(native, message.body))

        assert read == event

    @pytest.mark.parametrize("data", [a_state(), a_tombstone(), Beat(number=1)], ids=type)
    def test_any_rfc_3339_time_is_accepted(self, data: Data) -> None:
        """With either case, any number of digits, and leap seconds; also for deletions."""
        for text, instant in (
            ("2026-01-01t12:00:00z", NOON),
            ("2026-01-01T12:00:00.1234567891Z", NOON + timedelta(microseconds=123456)),
            ("2026-01-01T12:00:00.5+00:00", NOON + timedelta(seconds=0.5)),
            ("2026-01-01t14:00:00.000000+02:00", NOON),
            ("2026-01-01T04:30:00-07:30", NOON),
            ("2026-01-01 12:00:00Z", NOON),
            ("2026-01-01T12:00:00-00:00", NOON),
            ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, 999999, UTC)),
            ("2016-12-31t23:59:60.25z", datetime(2016, 12, 31, 23, 59, 59, 999999, UTC)),
            ("2016-12-31T15:59:60-08:00", datetime(2016, 12, 31, 23, 59, 59, 999999, UTC)),
        ):
            read = decode(changed(an_event(data), time=text))
            assert read.time == instant, text
            if isinstance(read.data, UserTombstone):
                assert read.data.deleted_at == instant, text

    def test_a_time_in_the_data_may_be_a_leap_second(self) -> None:
        """The rules for times in the body and in headers are the same."""
        event = an_event(a_state())
        times = {"created_at": "2016-12-31T23:59:60Z", "updated_at": "2016-12-31t23:59:60.9z"}
        read = decode(changed(event, body=body_of(event, **times)))
        assert isinstance(read.data, UserState)
        just_before = datetime(2016, 12, 31, 23, 59, 59, 999999, UTC)
        assert (read.data.created_at, read.data.updated_at) == (just_before, just_before)

    def test_an_amqp_timestamp_without_a_zone_is_utc(self) -> None:
        """AMQP timestamps count seconds since 1970 in UTC."""
        event = an_event(a_state())
        read = decode(changed(event, time=NOON.replace(tzinfo=None)))
        assert read.time == NOON

    def test_unknown_fields_of_recorded_data_pass_through(self) -> None:
        """An older relay sends what a newer version recorded, byte for byte."""
        payload = '{ "tomorrow" : [1,  2] }'
        event = StoredEvent(
            event_id=uuid4(), type="user.updated", occurred_at=NOON, payload=payload
        )
        message = encode_stored(event, source=SOURCE)
        assert message.body == payload.encode()


class TestDeletion:
    """A deletion is applied from its headers alone, so its body and schema do not matter."""

    @given(deletions(), st.binary(max_size=100))
    def test_a_deletion_with_any_body_is_read(self, event: UserDeleted, body: bytes) -> None:
        assert decode(changed(event, body)) == event

    def test_a_deletion_with_any_schema_is_read(self) -> None:
        """Including an unknown major version, and a body above the size limit."""
        event = an_event(a_tombstone())
        read = decode(
            changed(event, b"x" * (BODY_BYTES_MAX + 1), dataschema="urn:usersync:schema:x:99")
        )
        assert read == event

    @pytest.mark.parametrize("missing", ["subject", "subjectversion", "time"])
    def test_a_deletion_needs_user_version_and_time(self, missing: str) -> None:
        """The body does not replace missing headers."""
        event = an_event(a_tombstone())
        assert fault_of(changed(event, **{missing: None})) is Fault.INVALID_ATTRIBUTE


class TestUndecodable:
    """Invalid messages raise ``Undecodable`` with a stable fault, and no other exception."""

    @given(
        st.dictionaries(
            st.one_of(
                st.builds(str.__add__, st.sampled_from(PREFIXES), st.sampled_from(NAMES)),
                st.text(max_size=20),
            ),
            amqp_values,
            max_size=12,
        ),
        bodies,
    )
    def test_arbitrary_messages_are_undecodable(self, headers: dict[str, Any], body: bytes) -> None:
        refusal(Undecodable, decode, Delivery(headers, body))

    @given(events, st.sampled_from(NAMES), amqp_values, st.none() | bodies)
    @example(an_event(a_state()), "type", ["user.created"], None)
    @example(an_event(a_state()), "type", {"a": 1}, None)
    @example(an_event(a_state()), "time", "0001-01-01T00:00:00+23:59", None)
    def test_a_damaged_event_is_read_or_undecodable(
        self, event: Event, name: str, value: object, body: bytes | None
    ) -> None:
        delivery = changed(event, body, **{name: value})
        try:
            read = decode(delivery)
        except Undecodable:
            return
        assert isinstance(read, Event)

    def test_each_kind_of_other_message_has_its_fault(self) -> None:
        event, schema = an_event(a_state(version=5)), "urn:usersync:schema:user.updated:2"
        for delivery, fault in (
            # It may come from an unrelated publisher.
            (Delivery(None, b"{}"), Fault.NOT_A_CLOUD_EVENT),
            (Delivery({}, b"{}"), Fault.NOT_A_CLOUD_EVENT),
            (changed(event, specversion="2.0"), Fault.NOT_A_CLOUD_EVENT),
            # Parked, and redriven after an upgrade, though the data look valid.
            (changed(event, type="user.merged"), Fault.UNKNOWN_TYPE),
            (changed(event, dataschema=schema), Fault.UNKNOWN_SCHEMA),
            # Otherwise two replicas could store different versions of one event.
            (changed(event, subjectversion=f"{6:016d}"), Fault.INVALID_DATA),
        ):
            assert fault_of(delivery) is fault, delivery

    def test_a_body_above_the_maximum_size_is_too_large(self) -> None:
        """CloudEvents requires 64 KiB; a larger one is refused before it is parsed."""
        event = an_event(a_state())
        assert decode(changed(event, body_of(event).ljust(BODY_BYTES_MAX))) == event
        large = body_of(event).ljust(BODY_BYTES_MAX + 1)
        assert fault_of(changed(event, large)) is Fault.TOO_LARGE

    def test_data_that_breaks_a_rule_is_invalid(self) -> None:
        wrongs: tuple[dict[str, Any], ...] = (
            {"id": str(UUID(int=1))},
            *({"version": wrong} for wrong in (5, "1", 0, VERSION_MAX + 1, True)),
            *({"email": wrong} for wrong in ("a" * 321, None)),
            {"email_verified": 1},
            *({"roles": wrong} for wrong in ("admin", ["r"] * 33, [""], ["r" * 65])),
            {"status": "deleted"},
            {"created_at": "2026-01-01T12:00:00"},
            {"updated_at": 0},
        )
        for changes in wrongs:
            event = an_event(a_state())
            assert fault_of(changed(event, body_of(event, **changes))) is Fault.INVALID_DATA

    def test_a_body_that_is_not_a_json_object_is_invalid(self) -> None:
        utf_16 = json.dumps({"id": "1"}).encode("utf-16")
        for body in (b"", b"null", b"[]", b"{", b"{\x00}", b"\xff\xfe", b"[" * 50_000, utf_16):
            assert fault_of(changed(an_event(a_state()), body)) is Fault.INVALID_DATA, body

    def test_an_attribute_that_breaks_a_rule_is_invalid(self) -> None:
        wrongs: list[tuple[str, list[Any]]] = [
            ("id", ["not-a-uuid", None, "\x00"]),
            ("source", ["", 7]),
            ("subject", [f"{UUID(int=1)}\x00", None]),
            ("subjectversion", ["0", str(VERSION_MAX + 1), "-1", " 12", 1.0, True]),
            ("subjectversion", ["１２"]),  # noqa: RUF001 - digits outside ASCII
            ("sequence", ["9" * 21, "x"]),
            ("time", ["yesterday", "2026-01-01T12:00:61Z", "2026-01-01T24:60:60Z", 20260101, None]),
        ]
        event = an_event(a_state())
        for name, values in wrongs:
            for value in values:
                assert fault_of(changed(event, **{name: value})) is Fault.INVALID_ATTRIBUTE, value

    def test_the_error_never_contains_a_value(self) -> None:
        """It is stored and shown, and may be personal; the error names the field and the rule."""
        secret, event = "ada@secret.example" * 20, an_event(a_state())
        for name in NAMES[:-1]:
            refused = refusal(Undecodable, decode, changed(event, b"{}", **{name: secret}))
            assert "ada" not in str(refused)
        for name in UserState.model_fields:
            refused = refusal(Undecodable, decode, changed(event, body_of(event, **{name: secret})))
            assert "ada" not in str(refused)
            assert name in str(refused)


class TestLegibleUser:
    """The user id under which a message that cannot be read is parked."""

    @given(events.filter(lambda event: isinstance(event, UserEvent)))
    def test_it_is_the_user_of_a_readable_event(self, event: UserCreated | UserDeleted) -> None:
        assert legible_user(delivery_of(event)) == event.data.id

    def test_a_header_or_the_data_are_enough(self) -> None:
        """Erasing a user must find their parked messages, however damaged these are."""
        state = a_state()
        for prefix in PREFIXES:
            for name in ("subject", "partitionkey"):
                assert legible_user(Delivery({prefix + name: str(state.id)}, b"\xff")) == state.id
        body = body_of(an_event(state))
        assert legible_user(Delivery({}, body)) == state.id
        assert legible_user(Delivery({"cloudEvents_subject": "nobody"}, body)) == state.id

    @given(st.dictionaries(st.text(max_size=20), amqp_values) | st.none(), bodies)
    @example({"cloudEvents_subject": ["x"]}, b"[" * 50_000)
    @example({}, b'{"id": ' + b"9" * 5_000 + b"}")
    def test_it_never_raises(self, headers: dict[str, Any] | None, body: bytes) -> None:
        """Parking must not fail because a message has no user."""
        assert legible_user(Delivery(headers, body)) is None
