"""Test that the model's small values mean to the product what they mean to the model."""

from itertools import product as combinations

from contracts.sync.digest import DigestKind, Digests, bucket_of
from tests.model import product
from tests.model.rules import PRODUCT
from tests.model.state import BEAT, Entry, Record, Users

RECORDS = [None, Record(1, 1), Record(2, 2), Record(2, -2), Record(2, -3)]


def test_the_models_digest_is_the_products() -> None:
    """Rows that are written one after the other have the sum that the reference computes."""
    for users in combinations(RECORDS, repeat=2):
        states = [product.data(*each) for each in enumerate(users) if each[1] is not None]
        reference = Digests.of_states(states).bucket(bucket_of(product.IDS[0]), DigestKind.STATE)
        assert product.digest_of(PRODUCT, users).to_bytes(16, "big") == reference


def test_a_digest_does_not_depend_on_the_way_there() -> None:
    """Replacing and removing rows leads to the digest of what is left."""
    for first, second in combinations(RECORDS, repeat=2):
        users: Users = (second, None)
        digest = product.digest_after(PRODUCT, 0, 0, None, first)
        assert product.digest_after(PRODUCT, digest, 0, first, second) == product.digest_of(
            PRODUCT, users
        )


def test_a_wave_has_one_event_of_each_user() -> None:
    """A heartbeat goes with the first of them."""
    entries = (
        Entry(1, 0, Record(1, 1)),
        Entry(2, 0, Record(2, 2)),
        Entry(3, BEAT, Record(1, 1)),
        Entry(4, 1, Record(3, 3)),
    )

    assert [entry.position for entry in product.first_wave(entries)] == [1, 3, 4]
    assert [each.position for each in product.first_wave(entries, frozenset({2}))] == [2, 3, 4]


def test_an_erased_event_is_not_sent_and_a_tombstone_is() -> None:
    """Its user's tombstone follows it."""
    assert not product.is_sent(Entry(1, 0, Record(1, 1), is_erased=True))
    assert product.is_sent(Entry(2, 0, Record(2, -2), is_erased=True))
