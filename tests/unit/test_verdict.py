"""What becomes of changes since the last release."""

from compatibility.change import Change
from compatibility.verdict import Verdict, decide

GONE = Change("event user.created", "`email` is gone", "keep it")
ALSO_GONE = Change("command x", "it is gone", "keep it")
DEFAULT = Change("setting AUTH_PORT", "the default was 1 and is 2")


def verdict(*changes: Change, accepted: str = "", present: str = "0.2.0") -> Verdict:
    return decide(changes, accepted, released="0.1.0", present=present)


def test_a_break_is_refused_and_a_default_reported() -> None:
    found = verdict(GONE, DEFAULT)
    assert (found.refused, found.reported, found.is_good) == ([GONE], [DEFAULT], False)
    assert verdict(DEFAULT).is_good


def test_a_line_with_its_reason_accepts_one_break() -> None:
    line = f"# for people\n\n{GONE.sentence} because no one read it\n"
    assert verdict(GONE, accepted=line).is_good
    found = verdict(GONE, ALSO_GONE, accepted=line)
    assert (found.refused, found.accepted) == ([ALSO_GONE], [GONE])


def test_a_line_without_a_reason_or_a_break_is_refused() -> None:
    for line, expected in (
        (GONE.sentence, "has no reason"),
        (f"{GONE.sentence} because ", "has no reason"),
        (f"{ALSO_GONE.sentence} because of that", "accepts nothing any more"),
    ):
        found = verdict(GONE, accepted=line)
        assert not found.is_good
        assert [expected in wrong for wrong in found.wrong_lines] == [True], line


def test_a_major_version_may_break() -> None:
    found = verdict(GONE, present="1.0.0")
    assert (found.is_good, found.accepted) == (True, [GONE])
