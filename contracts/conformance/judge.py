"""Compare what a consumer shows with what follows from the vectors. Pure.

Guarantees: a field that a row lacks is not compared, so that a table with fewer columns conforms;
``id``, ``version`` and ``deleted_at`` are always required.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from contracts.events import read_rfc3339

Row = Mapping[str, Any]

REQUIRED: Final = ("id", "version", "deleted_at")
_TIMES: Final = ("tokens_valid_after", "created_at", "updated_at", "deleted_at")
_CLEARED: Final[tuple[Any, ...]] = (None, "", False, [], "deleted")
"""What a tombstone may have in a field that was cleared."""


def differences(cases: Iterable[Mapping[str, Any]], shown: Iterable[Row]) -> Iterator[str]:
    """Say of each case whose row is not as it must be what is wrong.

    Parameters:
        cases: of messages or merges; each is about one user.
        shown: the table, in any order.
    """
    rows = {str(row.get("id")).lower(): row for row in shown}
    for case in cases:
        wanted, found = case["result"].get("row"), rows.get(case["user"])
        why = _difference(wanted, found)
        if why:
            yield f"{case['name']}: {why}"


def _difference(wanted: Row | None, found: Row | None) -> str | None:
    if wanted is None:
        return None if found is None else "the table has a row, and should have none"
    if found is None:
        return "the table has no row"
    if missing := [name for name in REQUIRED if name not in found]:
        return f"the row has no {' and no '.join(missing)}"
    wrong = [
        f"{name} is {found[name]!r}, should be {value!r}"
        for name, value in wanted.items()
        if name in found and not _is_equal(name, value, found[name], wanted)
    ]
    return "; ".join(wrong) or None


def _is_equal(name: str, wanted: Any, found: Any, row: Row) -> bool:
    if row["deleted_at"] is not None and name not in REQUIRED:
        return found in _CLEARED
    if wanted is None or found is None:
        return wanted is found
    if name == "id":
        return bool(wanted == str(found).lower())
    if name in _TIMES:
        return _instant(wanted) == _instant(found)
    if name == "roles":
        return isinstance(found, list) and set(wanted) == set(found)
    return type(wanted) is type(found) and bool(wanted == found)


def _instant(text: object) -> object:
    try:
        return read_rfc3339(str(text))
    except ValueError:
        return None


def parked_differences(
    cases: Iterable[Mapping[str, Any]], parked: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """Say which messages are not parked for the right reason, or are parked and should not be.

    Parameters:
        cases: of messages.
        parked: objects with ``message_id`` and ``reason``.
    """
    reasons = {each.get("message_id"): each.get("reason") for each in parked}
    for case in cases:
        wanted = case["result"].get("parked")
        found = reasons.get(case["message"]["properties"]["message_id"])
        if wanted != found:
            yield f"{case['name']}: parked for {found}, should be {wanted}"


def verdict_differences(
    tokens: Sequence[Mapping[str, Any]], verdicts: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Say which tokens got the wrong verdict.

    Parameters:
        tokens: of the vectors.
        verdicts: an object with ``valid`` for each token, in the same order.
    """
    if len(verdicts) != len(tokens):
        yield f"{len(verdicts)} verdicts about {len(tokens)} tokens"
        return
    for token, verdict in zip(tokens, verdicts, strict=True):
        if verdict.get("valid") is not token["valid"]:
            why = token.get("reason", "it is valid")
            yield f"{token['name']}: valid is {verdict.get('valid')}, but {why}"


def digest_differences(table: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[str]:
    """Say which digests of a table are wrong; ``versions_root`` is required.

    Parameters:
        table: of the vectors.
        shown: some of the same figures.
    """
    if "versions_root" not in shown:
        yield "no versions_root"
    for name in ("users", "tombstones", "root", "versions_root"):
        if name in shown and shown[name] != table[name]:
            yield f"{name} is {shown[name]!r}, should be {table[name]!r}"
