"""Sweeping: how much a round may still do, and whose sweep took long."""

from uuid import UUID, uuid4

from blog_service.erasure.model import ROWS_MAX, SLOW_SECONDS, Owner, Swept, Unfinished

LONG = SLOW_SECONDS


def a_round(done: list[UUID], left: list[UUID]) -> Swept:
    swept = Swept()
    swept.note("user_id", [*done, *left], done)
    return swept


def test_all_that_is_written_takes_room() -> None:
    """Rows that are emptied or settled too: it is writing that takes time."""
    swept = Swept(profiles=1, posts=2, comments=3, emptied=4, settled=5)
    assert swept.room == ROWS_MAX - 15


def test_a_round_comes_further_when_it_erases_or_ends_something() -> None:
    """Not if all rows that are due are locked: then the sweep waits."""
    user = uuid4()
    assert not Swept().made_progress
    assert not a_round([], [user]).made_progress
    assert a_round([user], []).made_progress
    assert Swept(comments=1).made_progress


def test_whose_sweep_took_long_is_told_at_its_end() -> None:
    """Once, with the time since the first round that left content of the user."""
    user, unfinished = uuid4(), Unfinished()
    assert unfinished.note(a_round([], [user]), 10.0) == {}
    assert unfinished.note(a_round([], [user]), 11.0) == {}
    assert unfinished.note(a_round([user], []), 10.0 + LONG) == {Owner("user_id", user): LONG}
    assert unfinished.note(a_round([user], []), 100.0) == {}


def test_what_is_done_soon_is_not_told() -> None:
    at_once, soon, unfinished = uuid4(), uuid4(), Unfinished()
    unfinished.note(a_round([at_once], [soon]), 10.0)
    assert unfinished.note(a_round([soon], []), 10.0 + LONG / 2) == {}


def test_what_another_consumer_ended_is_forgotten() -> None:
    """It is not repeated when the user is swept again later."""
    user, unfinished = uuid4(), Unfinished()
    unfinished.note(a_round([], [user]), 10.0)
    unfinished.note(a_round([], []), 11.0)
    assert unfinished.note(a_round([user], []), 100.0) == {}


def test_a_user_and_a_post_are_not_mistaken_for_each_other() -> None:
    same, unfinished = uuid4(), Unfinished()
    post = Swept()
    post.note("post_id", [same], [same])
    unfinished.note(a_round([], [same]), 10.0)
    assert unfinished.note(post, 10.0 + LONG) == {}
