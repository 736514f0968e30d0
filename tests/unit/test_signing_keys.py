"""The life of a signing key: which changes are allowed, and which keys are used when."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from auth_service.tokens import model
from auth_service.tokens.commands import BITS_MAX
from auth_service.tokens.model import Keys, SigningKey, State
from contracts.tokens.keys import RSA_BITS_MAX, RSA_BITS_MIN
from tests.support.builders import NOON

WAIT = timedelta(minutes=15)
HOLD = timedelta(minutes=70)
TOKEN = timedelta(minutes=15)
LONG_AGO = NOON - timedelta(days=90)


def a_key(kid: str, state: State = State.PENDING, **changes: Any) -> SigningKey:
    """A key of the database, generated long ago; retired or revoked at noon, if it is."""
    values: dict[str, Any] = {
        "public_jwk": {"n": "AQAB"},
        "sealed_private_key": b"sealed",
        "created_at": LONG_AGO,
        "activated_at": LONG_AGO if state is State.ACTIVE else None,
        "retired_at": NOON if state is State.RETIRED else None,
        "revoked_at": NOON if state is State.REVOKED else None,
    }
    return SigningKey(kid=kid, state=state, **(values | changes))


def configured(kid: str, state: State = State.PENDING, **changes: Any) -> SigningKey:
    return a_key(kid, state, sealed_private_key=None, **changes)


def keys(*those: SigningKey, now: datetime = NOON) -> Keys:
    return Keys(keys=those, now=now, periods=model.Periods(wait=WAIT, hold=HOLD))


def kids(those: list[SigningKey]) -> list[str]:
    return [key.kid for key in those]


def test_new_keys_have_a_length_that_verifiers_accept() -> None:
    """The commands name the limits without importing cryptography."""
    assert model.BITS_MIN == RSA_BITS_MIN
    assert model.BITS_MIN <= model.BITS <= BITS_MAX <= RSA_BITS_MAX


def test_the_key_set_holds_all_but_the_revoked_keys() -> None:
    ring = keys(
        a_key("revoked", State.REVOKED),
        a_key("retired", State.RETIRED),
        a_key("pending"),
        a_key("active", State.ACTIVE),
    )

    assert kids(ring.published) == ["active", "pending", "retired"]


def test_a_retired_key_leaves_the_key_set_when_its_hold_is_over() -> None:
    """Not a microsecond too early for its last token, nor one after the hold."""
    key = a_key("retired", State.RETIRED)
    end = NOON + HOLD
    assert kids(keys(key, now=end - timedelta(microseconds=1)).published) == ["retired"]
    assert kids(keys(key, now=end).published) == []
    assert keys(key).leaves_at(key) == end


def test_the_active_key_signs_before_its_substitutes() -> None:
    """Then keys that verifiers certainly know, then the configured one, which they may know."""
    earlier = NOON - timedelta(minutes=5)
    ring = keys(
        configured("configured"),
        a_key("pending"),
        a_key("before", State.RETIRED, retired_at=earlier),
        a_key("last", State.RETIRED),
        a_key("active", State.ACTIVE),
    )

    assert kids(ring.by_preference(TOKEN)) == ["active", "last", "before", "configured"]


def test_a_key_that_leaves_before_its_token_expires_signs_no_more() -> None:
    key = a_key("retired", State.RETIRED)
    last = NOON + HOLD - TOKEN
    assert kids(keys(key, now=last - timedelta(seconds=1)).by_preference(TOKEN)) == ["retired"]
    assert kids(keys(key, now=last).by_preference(TOKEN)) == []


def test_neither_a_pending_nor_a_revoked_key_signs() -> None:
    """Operators activate stored keys; a revoked key never signs."""
    ring = keys(a_key("pending"), configured("revoked", State.REVOKED))
    assert ring.by_preference(TOKEN) == []


def test_a_key_is_activated_only_when_verifiers_know_it() -> None:
    """The error says from when, and how to override it; then it is allowed."""
    key = a_key("new", created_at=NOON)
    at = NOON + WAIT
    active = a_key("active", State.ACTIVE)

    with pytest.raises(model.TooSoon, match=r"from 2026-01-01 12:15:00Z, when.*--force"):
        keys(active, key, now=at - timedelta(microseconds=1)).require_activatable(key, force=False)
    keys(active, key, now=at).require_activatable(key, force=False)
    keys(active, key, now=NOON).require_activatable(key, force=True)


def test_the_first_key_need_not_wait() -> None:
    """No verifier has cached a key set yet."""
    key = a_key("new", created_at=NOON)
    keys(key).require_activatable(key, force=False)
    assert keys(key).may_be_activated_at(key) == NOON


@pytest.mark.parametrize("state", [State.RETIRED, State.REVOKED])
def test_a_retired_or_revoked_key_is_not_activated(state: State) -> None:
    """Not even by force; the remedy is a new key."""
    key = a_key("old", state)
    with pytest.raises(model.Gone, match=f"{state}.*keys generate"):
        keys(key).require_activatable(key, force=True)


def test_only_a_pending_key_may_be_withdrawn() -> None:
    """There must be an active key, and a revoked one would be published again."""
    keys(a_key("new")).require_retirable(a_key("new"))
    with pytest.raises(model.StillActive, match="activate another key"):
        keys().require_retirable(a_key("active", State.ACTIVE))
    with pytest.raises(model.Gone):
        keys().require_retirable(a_key("old", State.REVOKED))


def test_the_key_set_stays_small() -> None:
    """Verifiers refuse a long one; revoked keys do not count."""
    full = [a_key(f"key{n}") for n in range(model.PUBLISHED_MAX)]
    keys(*full[1:], a_key("old", State.REVOKED)).require_room()
    with pytest.raises(model.TooManyKeys, match="revoke"):
        keys(*full).require_room()


def test_a_key_is_found_by_an_unambiguous_beginning_of_its_id() -> None:
    """However short, or the whole id; None, or more than one, is refused."""
    ring = keys(a_key("abc"), a_key("abd"), a_key("xyz"))
    assert [ring.find(prefix).kid for prefix in ("abd", "x")] == ["abd", "xyz"]
    refused: dict[str, type[model.KeyRefusal]] = {
        "ab": model.AmbiguousKid,
        "z": model.NoSuchKey,
        "": model.NoSuchKey,
    }
    for prefix, error in refused.items():
        with pytest.raises(error):
            ring.find(prefix)


def test_a_new_configured_key_signs_if_no_other_does() -> None:
    """It signs if no other key does or can; beside a stored key it is a substitute."""
    for others, is_lost, step in (
        ([], False, model.ImportStep.ADD_ACTIVE),
        ([a_key("spare")], False, model.ImportStep.ADD_ACTIVE),
        ([a_key("stored", State.ACTIVE)], False, model.ImportStep.ADD),
        ([configured("former", State.ACTIVE)], True, model.ImportStep.ADD_ACTIVE),
    ):
        assert registered(keys(*others), is_lost=is_lost) is step, others


@pytest.mark.parametrize("state", State)
def test_a_known_configured_key_is_left_alone(state: State) -> None:
    """If its state is intended; above all, a revoked one does not return."""
    ring = keys(configured("mine", state), configured("other", State.ACTIVE))
    assert registered(ring, is_lost=True) is None


def test_a_configured_key_whose_hold_ends_replaces_a_lost_one() -> None:
    """Set again permanently, it signs again, unless the other key is still in use."""
    former = configured("mine", State.RETIRED)
    ring = keys(former, configured("other", State.ACTIVE), now=NOON + HOLD - TOKEN)
    assert registered(ring, is_lost=True) is model.ImportStep.ACTIVATE
    assert registered(ring, is_lost=False) is None


def registered(ring: Keys, *, is_lost: bool) -> model.ImportStep | None:
    """How to import the key "mine"."""
    return model.import_step(ring, "mine", active_is_lost=is_lost, token_lasts=TOKEN)


def test_a_time_in_words_is_not_too_early() -> None:
    """A user who waits until the shown time has waited long enough."""
    assert model.reached_text(NOON) == "2026-01-01 12:00:00Z"
    assert model.reached_text(NOON + timedelta(microseconds=1)) == "2026-01-01 12:00:01Z"
