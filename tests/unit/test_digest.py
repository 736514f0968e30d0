"""The canonical form of a user, its digest, and the comparison of digests."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import UserState, UserTombstone
from contracts.sync.digest import (
    BUCKETS,
    DIGEST_BYTES,
    DigestKind,
    Digests,
    bucket_of,
    canonical_form,
    difference,
    row_digest,
    version_digest,
)
from tests.support.states import FIELDS, states, texts, tombstones, versions

State = UserState | UserTombstone
STATE, VERSIONS = DigestKind.STATE, DigestKind.VERSIONS

ID = UUID("00112233-4455-6677-8899-aabbccddeeff")
CREATED = datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)
UPDATED = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
ADA: dict[str, Any] = {
    "id": ID,
    "version": 258,
    "email": "ada@example.org",
    "email_verified": True,
    "roles": (),
    "status": "active",
    "tokens_valid_after": None,
    "created_at": CREATED,
    "updated_at": UPDATED,
}

# Derived by hand, field by field, from the specification in `contracts.sync.digest`.
BEGIN = "00112233445566778899aabbccddeeff" + "0000000000000102"
EMAIL = "0000000f" + b"ada@example.org".hex()
ACTIVE = "00000006" + b"active".hex()
TIMES = "00000000000f4240" + "ffffffffffffffff"

VECTORS: dict[str, tuple[UserState | UserTombstone, str, str]] = {
    "living": (
        UserState(**ADA),
        "55" + BEGIN + EMAIL + "01" + "00000000" + ACTIVE + "00" + TIMES,
        "2bfc5699676c58dd18c15147893ba889",
    ),
    "with a time before which tokens are refused": (
        UserState(**ADA | {"tokens_valid_after": datetime(2000, 1, 1, tzinfo=UTC)}),
        "55" + BEGIN + EMAIL + "01" + "00000000" + ACTIVE + "01" + "00" * 8 + TIMES,
        "40d138dcf2dc81031d541b49492051b9",
    ),
    "unicode, counted in characters": (
        UserState(**ADA | {"email": "ä🐘@", "email_verified": False, "status": "disabled"}),
        "55" + BEGIN + "00000003" + "c3a4f09f909840" + "00" + "00000000"
        "00000008" + b"disabled".hex() + "00" + TIMES,
        "8ecffe9060ec44780c15364bb663e7a4",
    ),
    "roles, in the order of their bytes and each once": (
        UserState(**ADA | {"roles": ("b", "a", "é", "Z", "b", "a,b")}),
        "55" + BEGIN + EMAIL + "01" + "00000005"
        "000000015a" "0000000161" "00000003612c62" "0000000162" "00000001c3a9" + ACTIVE + "00"
        + TIMES,
        "f71adb7428bc883f508ec9b7c5b27944",
    ),
    "tombstone": (
        UserTombstone(id=ID, version=258, deleted_at=CREATED),
        "54" + BEGIN + "00000000000f4240",
        "0c6378248afafaf267ac923160c873f3",
    ),
}  # fmt: skip


# SHA-256 of "L" or "D", and BEGIN.
LIVING_VERSION = "98da6db6f3741dccb3cf2cc093cf6bc4"
DELETED_VERSION = "e615192d4b27c8881c7e1e702aa662d1"


@pytest.mark.parametrize("name", VECTORS)
def test_canonical_forms_and_digests_match_the_vectors(name: str) -> None:
    """Other implementations can use the same vectors."""
    state, form, digest = VECTORS[name]
    is_deleted = name == "tombstone"
    assert canonical_form(state).hex() == form
    assert row_digest(state).hex() == digest
    version = DELETED_VERSION if is_deleted else LIVING_VERSION
    assert version_digest(ID, 258, is_deleted=is_deleted).hex() == version


def test_equal_instants_and_role_sets_have_equal_digests() -> None:
    elsewhere = CREATED.astimezone(timezone(timedelta(hours=5, minutes=45)))
    one, other = (UserTombstone(id=ID, version=1, deleted_at=at) for at in (CREATED, elsewhere))
    assert row_digest(one) == row_digest(other)
    living = UserState(**ADA | {"roles": ("a", "b")})
    same = UserState(**ADA | {"roles": ("b", "a", "a"), "created_at": elsewhere})
    assert row_digest(living) == row_digest(same)


def same(one: UserState | UserTombstone, other: UserState | UserTombstone) -> bool:
    if isinstance(one, UserState) and isinstance(other, UserState):
        return one.model_copy(update={"roles": frozenset(one.roles)}) == other.model_copy(
            update={"roles": frozenset(other.roles)}
        )
    return one == other


@given(state=states(), data=st.data())
def test_every_field_changes_the_canonical_form(state: UserState, data: st.DataObject) -> None:
    """Two users have the same form exactly if all their fields are equal."""
    names = data.draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=3))
    other = state.model_copy(update={name: data.draw(FIELDS[name]) for name in sorted(names)})
    assert (canonical_form(state) == canonical_form(other)) == same(state, other)


@given(
    st.tuples(texts(3, 6), texts(1, 3), texts(1, 3)),
    st.tuples(texts(3, 6), texts(1, 3), texts(1, 3)),
)
def test_text_moved_between_fields_changes_the_form(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    """Each text is preceded by its length."""
    first, second = (
        UserState(**ADA | {"email": email, "roles": tuple(roles)}) for email, *roles in (one, other)
    )
    assert (canonical_form(first) == canonical_form(second)) == same(first, second)


@given(tombstones(), tombstones() | states())
def test_tombstones_differ_from_everything_else(
    one: UserTombstone, other: UserState | UserTombstone
) -> None:
    assert (canonical_form(one) == canonical_form(other)) == same(one, other)


def test_the_bucket_is_the_last_twelve_bits_of_the_id() -> None:
    """These bits are random in UUIDs of versions 4 and 7."""
    for user_id, bucket in (
        ("00000000-0000-0000-0000-000000000000", 0),
        ("ffffffff-ffff-ffff-ffff-fffffffff000", 0),
        ("00000000-0000-0000-0000-000000000fff", 4095),
        ("00112233-4455-6677-8899-aabbccddeeff", 0xEFF),
    ):
        assert bucket_of(UUID(user_id)) == bucket, user_id


EMPTY = bytes(BUCKETS * DIGEST_BYTES)
"""The digests of an empty table."""


def digests(**buckets: int) -> Digests:
    packed = bytearray(EMPTY)
    for name, digest in buckets.items():
        first = int(name[1:]) * DIGEST_BYTES
        packed[first : first + DIGEST_BYTES] = digest.to_bytes(DIGEST_BYTES, "big")
    return Digests(0, 0, bytes(packed), EMPTY)


def test_differing_buckets_are_named() -> None:
    ours = digests(b0=1, b2=7, b17=3, b4095=5)
    theirs = digests(b0=1, b2=8, b4095=6, b40=1)
    assert ours.differing(theirs, STATE) == theirs.differing(ours, STATE) == [2, 17, 40, 4095]
    assert ours.differing(ours, STATE) == []
    assert ours.differing(theirs, VERSIONS) == []
    assert ours.root != theirs.root
    assert ours.versions_root == theirs.versions_root


def test_digests_without_all_fields_have_no_root() -> None:
    """A replica with fewer columns is proved by versions; a mistake must not compare nothing."""
    of_versions = Digests(1, 0, None, EMPTY)
    assert of_versions.versions_root == hashlib.sha256(EMPTY).hexdigest()
    with pytest.raises(ValueError, match="do not cover state"):
        _ = of_versions.root


MANY = st.lists(states() | tombstones(), max_size=12, unique_by=lambda state: state.id)


@given(MANY, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_count(held: list[State], random: Random) -> None:
    shuffled = list(held)
    random.shuffle(shuffled)
    assert Digests.of_states(shuffled) == Digests.of_states(held)


@given(MANY, states() | tombstones())
def test_a_row_that_counts_twice_does_not_cancel_itself(held: list[State], again: State) -> None:
    """As it would with XOR; nor does a row that was counted once too often, in any lane."""
    rows = [each for each in held if each.id != again.id]
    sums = [Digests.of_states([*rows, *[again] * times]) for times in range(4)]
    for kind in (STATE, VERSIONS):
        packed = [each.buckets(kind) for each in sums]
        assert len(set(packed)) == len(packed)
    assert len({each.root for each in sums}) == len(sums)


@given(states(), versions())
def test_the_version_of_a_user_has_a_digest_of_its_own(state: UserState, version: int) -> None:
    """Of id, version and deletion, and of nothing else."""

    def digest_of(state: State) -> bytes | None:
        return Digests.of_states([state]).versions

    same_version = state.model_copy(update={"email": "other@example.org", "roles": ("other",)})
    tombstone = UserTombstone(id=state.id, version=state.version, deleted_at=CREATED)
    later = tombstone.model_copy(update={"deleted_at": UPDATED})
    other = state.model_copy(update={"version": version})

    assert digest_of(state) == digest_of(same_version)
    assert digest_of(tombstone) == digest_of(later) != digest_of(state)
    assert (digest_of(state) == digest_of(other)) == (state.version == version)


def test_the_digests_of_a_bucket_are_added_lane_by_lane() -> None:
    """Modulo 2^32: a lane does not carry into the next one."""
    held = [
        UserTombstone(id=UUID(int=number << 12 | 7), version=number + 1, deleted_at=CREATED)
        for number in range(50)
    ]
    digests_of_rows = [row_digest(each) for each in held]
    lanes = [
        sum(int.from_bytes(each[4 * lane : 4 * lane + 4], "big") for each in digests_of_rows)
        for lane in range(4)
    ]

    found = Digests.of_states(held)

    assert (found.users, found.tombstones, found.rows) == (0, 50, 50)
    assert all(lane >= 2**32 for lane in lanes)
    packed = b"".join((lane % 2**32).to_bytes(4, "big") for lane in lanes)
    assert found.buckets(STATE) == EMPTY[: 7 * 16] + packed + EMPTY[8 * 16 :]


def test_a_difference_has_only_the_rows_that_differ() -> None:
    """What is added to both sides, or changed on both, leaves it as it is."""
    shared, own, later = (
        int.from_bytes(row_digest(UserTombstone(id=UUID(int=n), version=n, deleted_at=CREATED)))
        for n in (1, 2, 3)
    )

    before = difference(_summed(shared, own), _summed(shared))
    after = difference(_summed(shared, own, later), _summed(shared, later))

    assert before == after == _summed(own)
    assert difference(_summed(shared), _summed(shared, own)) != before
    assert difference(_summed(own), _summed(own)) == bytes(DIGEST_BYTES)


def _summed(*digests: int) -> bytes:
    lanes = [sum(each >> shift & (2**32 - 1) for each in digests) for shift in (96, 64, 32, 0)]
    return b"".join((lane % 2**32).to_bytes(4, "big") for lane in lanes)
