"""What a replica and its source send each other: ranges of buckets, digests, streams."""

import json
import re
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.events import EMAIL_LENGTH_MAX, ROLE_LENGTH_MAX, ROLES_MAX
from contracts.sync import comparison
from contracts.sync.digest import BUCKETS, DIGEST_BYTES, VERSION, DigestKind, Digests, PackedDigests
from service_kit.http.heads import HEAD_BYTES_MAX
from tests.support.builders import NOON

SOURCE_ID = UUID(int=1)
ALL = f"0-{BUCKETS - 1}"


def test_buckets_are_named_by_ranges() -> None:
    for buckets, ranges in (
        ([17], "17"),
        ([0, 1, 2], "0-2"),
        ([0, 1, 3, 4095], "0-1,3,4095"),
        (range(BUCKETS), ALL),
        (
            range(0, 2 * comparison.RANGES_MAX, 2),
            ",".join(map(str, range(0, 2 * comparison.RANGES_MAX, 2))),
        ),
        (range(4, 2 * comparison.RANGES_MAX + 6, 2), f"4-{2 * comparison.RANGES_MAX + 4}"),
    ):
        assert comparison.ranges_text(comparison.bucket_ranges(buckets)) == ranges, buckets


@given(st.sets(st.integers(0, BUCKETS - 1), min_size=1) | st.just(set(range(0, BUCKETS, 2))))
def test_named_buckets_are_read_back(buckets: set[int]) -> None:
    named_ranges = comparison.bucket_ranges(sorted(buckets))
    ranges = comparison.ranges_text(named_ranges)

    found = [bucket for part in comparison.buckets_in(ranges) for bucket in part]

    is_span = "," not in ranges
    named = list(range(min(buckets), max(buckets) + 1)) if is_span else sorted(buckets)
    assert found == named
    assert comparison.buckets_in(ranges) == named_ranges
    assert buckets <= set(found)
    assert re.fullmatch(comparison.RANGES_PATTERN, ranges)
    assert len(ranges) <= comparison.RANGES_LENGTH_MAX < HEAD_BYTES_MAX // 3


@pytest.mark.parametrize(
    "ranges",
    [
        *("", ",", "1,", "4096", "0-4096", "3-2", "-1", "1-", "1--2", "2,1", "1,1", "0-5,5"),
        *(" 1", "1\n", "+1", "\u0661", "1.0", "00001"),
        pytest.param(",".join(map(str, range(0, 2 * comparison.RANGES_MAX + 2, 2))), id="too many"),
    ],
)
def test_an_invalid_parameter_is_refused(ranges: str) -> None:
    """Each bucket at most once, in ascending order: so the work of one request is limited."""
    with pytest.raises(ValueError, match=r"^must "):
        comparison.buckets_in(ranges)


STATE = bytes(range(256)) * (BUCKETS * DIGEST_BYTES // 256)
VERSIONS = STATE[::-1]


def test_digests_are_sent_and_read_back() -> None:
    for kind, expected in (
        (DigestKind.STATE, Digests(3, 4, STATE, None)),
        (DigestKind.VERSIONS, Digests(3, 4, None, VERSIONS)),
    ):
        packed = Digests(3, 4, STATE, VERSIONS).packed(kind, comparison.EVERY_BUCKET)
        answer = comparison.DigestsBody.of(SOURCE_ID, NOON, packed, kind)
        read = comparison.DigestsBody.read(answer.model_dump_json().encode())
        assert read == answer, kind
        assert (read.source, read.taken_at, read.value()) == (SOURCE_ID, NOON, expected), kind


def test_digests_of_another_version_are_refused() -> None:
    """They would show drift where there is none; the first version named no version."""
    first = {"source": str(SOURCE_ID), "taken_at": NOON.isoformat(), "users": 1, "tombstones": 0}
    later = json.loads(an_answer().model_dump_json()) | {"version": VERSION + 1, "new": True}
    for answer, version in ((first | {"digests": "AA"}, 1), (later, VERSION + 1)):
        with pytest.raises(
            comparison.OtherVersion, match=f"speaks version {version} .* version {VERSION}:"
        ):
            comparison.DigestsBody.read(json.dumps(answer).encode())
    with pytest.raises(ValidationError):
        comparison.DigestsBody.read(b"[]")


def an_answer() -> comparison.DigestsBody:
    return comparison.DigestsBody.of(SOURCE_ID, NOON, PackedDigests(0, 0, STATE), DigestKind.STATE)


def test_invalid_digests_are_refused() -> None:
    """Too many before the comparison; another length, or wrong characters, when they are read."""
    values = an_answer().model_dump()

    with pytest.raises(ValidationError):
        comparison.DigestsBody(**values | {"buckets": values["buckets"] + "AAAA"})
    short = comparison.DigestsBody(**values | {"buckets": "AAAA"})
    for read in (short.value, partial(short.by_bucket, comparison.EVERY_BUCKET)):
        with pytest.raises(ValueError, match="the 4096 digests have another length"):
            read()
    with pytest.raises(ValueError, match="base64url"):
        comparison.DigestsBody(**values | {"buckets": "+" * len(values["buckets"])}).value()


def test_digests_of_some_buckets_are_read_back() -> None:
    ranges = [range(2), range(4095, 4096)]
    digests = Digests(3, 4, STATE, VERSIONS)
    packed = digests.packed(DigestKind.VERSIONS, ranges)
    answer = comparison.DigestsBody.of(SOURCE_ID, NOON, packed, DigestKind.VERSIONS)
    expected = {bucket: digests.bucket(bucket, DigestKind.VERSIONS) for bucket in (0, 1, 4095)}
    assert answer.by_bucket(ranges) == expected
    with pytest.raises(ValueError, match="the 4 digests have another length"):
        answer.by_bucket([range(4)])


def test_a_request_names_tags() -> None:
    for fields in (['"a"'], ['W/"a"'], ['"b", "a"'], ['"b"', '"a"'], ["*"], [" * "]):
        assert comparison.is_named('"a"', fields), fields
    for fields in ([], [""], ['"b"'], ["a"], ['"a'], ['"aa"']):
        assert not comparison.is_named('"a"', fields), fields


def test_a_tag_names_version_source_and_root() -> None:
    """A source with the same users but another identity has another tag."""
    digests = Digests(3, 4, STATE, VERSIONS)
    tags = {
        comparison.entity_tag(source, kind, digests)
        for source in (SOURCE_ID, UUID(int=2))
        for kind in DigestKind
    }
    assert len(tags) == 4
    assert all(tag.startswith(f'"{VERSION}.') and comparison.is_named(tag, [tag]) for tag in tags)


def test_no_other_line_is_the_last() -> None:
    """An incomplete stream must never look complete."""
    for line in (
        *(b"", b"{}", b'{"end":true,"count":1}'),
        b'{"end":false,"count":1,"sha256":"%064x"}' % 1,
        b'{"end":true,"count":-1,"sha256":"%064x"}' % 1,
        b'{"end":true,"count":"1","sha256":"%064x"}' % 1,
        b'{"end":true,"count":1,"sha256":"%063x"}' % 1,
        b'{"end":true,"count":1,"sha256":"%064X"}' % 10,
        comparison.StreamBegin(source=SOURCE_ID, taken_at=NOON).model_dump_json().encode(),
    ):
        with pytest.raises(ValidationError):
            comparison.StreamEnd.model_validate_json(line)


def test_unknown_fields_of_a_newer_source_are_ignored() -> None:
    about = '"source":"00000000-0000-0000-0000-000000000001","new":[1]'
    begin = comparison.StreamBegin.model_validate_json(
        f'{{{about},"taken_at":"2026-01-01T12:00:00Z"}}'
    )
    beat = comparison.HeartbeatBody.model_validate_json(
        f'{{{about},"issuer":"x","number":7,"recorded_at":"2026-01-01T14:00:00+02:00"}}'
    )
    assert begin == comparison.StreamBegin(source=SOURCE_ID, taken_at=NOON)
    assert (beat.number, beat.recorded_at) == (7, NOON)


def test_the_longest_line_fits() -> None:
    """A user whose every character is escaped: six bytes each, plus the rest of the line."""
    escaped = 6 * (EMAIL_LENGTH_MAX + ROLES_MAX * ROLE_LENGTH_MAX) + 3 * ROLES_MAX
    assert escaped + 500 < comparison.LINE_BYTES_MAX
