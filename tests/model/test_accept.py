"""Test that logs of a sound system are accepted, and doctored ones refused."""

import pytest

from replica.reconcile.model import Kind
from tests.model.accept import Log, Observed, Seen, accept


def _story(text: str) -> Log:
    """Read a log: words such as ``committed 1``, a ``-`` before a tombstone's version."""
    log = []
    for words in text.split(","):
        name, *details = words.split()
        details = [each for each in details if each != "operator"]
        what = Seen[name.replace("-", "_").upper()]
        observed = Observed(what, is_operators="operator" in words)
        for detail in details:
            if detail.lstrip("-").isdigit():
                number = int(detail)
                observed = observed._replace(version=abs(number), is_deletion=number < 0)
            elif detail == "urgent":
                observed = observed._replace(is_urgent=True)
            elif detail == "unclaimed":
                observed = observed._replace(is_claim=False)
            else:
                observed = observed._replace(kind=Kind(detail))
        log.append(observed)
    return tuple(log)


_ONE = "committed 1, published 1, confirmed 1, applied 1"
_LIFE = f"{_ONE}, committed -2, published -2, applied -2, confirmed -2"
_PURGED = "committed 1, published 1, confirmed 1, losing, lost"
_STALE = "comparing, repaired 1, compared unclaimed"

SOUND = {
    "a life": _LIFE,
    "applied before it is marked": "committed 1, published 1, applied 1, confirmed 1",
    "a relay crashed, and it is published again": "committed 1, published 1, applied 1,"
    " published 1, confirmed 1",
    "an erased event is never published": "committed 1, committed -2, published -2, confirmed -2,"
    " applied -2",
    "an event is erased while it is sent": "committed 1, published 1, committed -2, applied 1,"
    " published -2, confirmed -2, applied -2",
    "a repair of what was read before the last commits": f"{_ONE}, committed 2, published 2,"
    " confirmed 2, losing, lost, comparing, committed 3, committed -4, published -4, confirmed -4,"
    " repaired 2, compared unclaimed, applied -4",
    "events are erased while several are sent": "committed 1, committed 2, published 1,"
    " committed -3, published 2, applied 2, published -3, confirmed -3, applied -3",
    "a change is applied, and again after a failover that lost it": "committed 1, published 1,"
    " confirmed 1, replica-behind, applied 1, committed 2, published 2, confirmed 2, applied 2,"
    " replica-failed-over, applied 2",
    "a thawed relay repeats an event": f"{_LIFE}, published 1",
    "another consumer overtakes": "committed 1, published 1, confirmed 1, committed 2,"
    " published 2, confirmed 2, applied 2",
    "an urgent event overtakes": "committed 1, committed 2, committed 3 urgent, published 3,"
    " confirmed 3, applied 3, published 1, confirmed 1, published 2, confirmed 2",
    "a batch of some events, while more arrive": "committed 1, committed 2, committed 3,"
    " published 1, confirmed 1, published 2, confirmed 2, published 3, confirmed 3, applied 2,"
    " applied 3",
    "a token before the event": "committed 1, provisioned, published 1, confirmed 1, applied 1",
    "proved equal": f"{_ONE}, comparing, compared",
    "proved equal before a commit": f"{_ONE}, comparing, committed 2, compared, published 2,"
    " confirmed 2, applied 2",
    "proved equal after an apply": f"{_ONE}, committed 2, comparing, published 2, confirmed 2,"
    " applied 2, committed 3, compared, published 3, confirmed 3, applied 3",
    "proved equal before a loss": f"{_ONE}, losing, comparing, committed -2, published -2,"
    " confirmed -2, compared, applied -2, lost",
    "purged and repaired": f"{_PURGED}, {_STALE}",
    "the replica fails over": f"{_ONE}, committed 2, published 2, confirmed 2, replica-behind,"
    " applied 2, replica-failed-over, comparing, repaired 2, compared unclaimed",
    "the source fails over, and an orphan is deleted": "source-behind, committed 1, published 1,"
    " confirmed 1, applied 1, source-failed-over, comparing, compared orphan, restored,"
    " comparing operator, repaired -9, compared unclaimed",
    "the source fails over, and the deletion is repeated": f"{_ONE}, source-behind, committed -2,"
    " published -2, confirmed -2, applied -2, source-failed-over, restored 3, published 3,"
    " confirmed 3, comparing operator, compared undone_deletion, committed -4, published -4,"
    " confirmed -4, applied -4",
    "a deletion is called undone while it is repeated": f"{_ONE}, source-behind, committed -2,"
    " published -2, confirmed -2, applied -2, source-failed-over, restored 3, published 3,"
    " confirmed 3, comparing, committed -4, published -4, confirmed -4, applied -4,"
    " compared undone_deletion",
}

DOCTORED = {
    "an apply of what was never committed": f"{_ONE}, applied 2",
    "a confirm before the publication": "committed 1, confirmed 1, published 1, applied 1",
    "an apply before the commit": "applied 1, committed 1, published 1, confirmed 1",
    "an apply that resurrects": f"{_LIFE}, published 1, applied 1",
    "an apply of an older version": "committed 1, published 1, confirmed 1, committed 2,"
    " published 2, confirmed 2, applied 2, applied 1",
    "a publication that is lost and never repeated": "committed 1",
    "a message that is lost and never repaired": _PURGED,
    "a repair of what was not lost": f"{_ONE}, committed 2, {_STALE.replace('1', '2')},"
    " published 2, confirmed 2",
    "a repair without a comparison": f"{_PURGED}, repaired 1",
    "proved equal while it differs": f"{_PURGED}, comparing, compared, {_STALE}",
    "called an orphan while the source has the user": f"{_ONE}, comparing, compared orphan",
    "two unconfirmed publications": "committed 1, committed 2, published 1, published 2,"
    " confirmed 1, confirmed 2, applied 2",
    "published in the wrong order": "committed 1, committed 2, published 2, confirmed 2,"
    " published 1, confirmed 1, applied 2",
    "parked, and left so": "committed 1, published 1, confirmed 1, parked",
    "changed after the deletion": f"{_LIFE}, committed 3, published 3, confirmed 3",
    "alive again after a failover": f"{_ONE}, replica-behind, committed -2, published -2,"
    " confirmed -2, applied -2, replica-failed-over",
    "a failover that loses nothing, and a row that is lost": f"{_ONE}, replica-behind,"
    " replica-failed-over",
}


@pytest.mark.parametrize("story", SOUND.values(), ids=SOUND)
def test_what_a_sound_system_does_is_accepted(story: str) -> None:
    """Steps that leave no trace are inferred."""
    refusal = accept(_story(story), sees_sends=True)
    assert refusal is None, f"refused:\n{refusal}"


@pytest.mark.parametrize("story", DOCTORED.values(), ids=DOCTORED)
def test_a_doctored_log_is_refused(story: str) -> None:
    """No way through the model leads to what it says."""
    assert accept(_story(story), sees_sends=True) is not None


def test_publications_are_inferred_where_none_are_seen() -> None:
    """The record of the broker may be lost with it; what was applied was published."""
    log = tuple(each for each in _story(_LIFE) if each.what is not Seen.PUBLISHED)
    assert accept(log, sees_sends=False) is None
    assert accept(log, sees_sends=True) is not None
