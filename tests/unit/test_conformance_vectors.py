"""The vectors of the conformance kit are independent of each other, and judged by meaning."""

import json
from collections import Counter
from typing import Any

import joserfc.jwk
import joserfc.jws
import pytest
from joserfc.errors import JoseError

from contracts.conformance import judge
from contracts.conformance.messages import a_state, a_tombstone, row_of
from contracts.conformance.run import vectors
from contracts.events.envelope import Fault


def test_no_two_cases_share_a_user_or_a_message() -> None:
    """So the order of cases does not matter, and a message is found by its id."""
    envelope, merge = vectors("envelope")["cases"], vectors("merge")["cases"]
    users = Counter(case["user"] for case in [*envelope, *merge])
    messages = [case["message"] for case in envelope]
    messages += [each for case in merge for each in case["messages"]]
    ids = Counter(each["properties"]["message_id"] for each in messages)
    assert users.most_common(1)[0][1] == ids.most_common(1)[0][1] == 1
    assert len(json.dumps(messages)) < 200_000


def test_every_fault_has_a_message() -> None:
    results = [case["result"] for case in vectors("envelope")["cases"]]
    assert {result["parked"] for result in results if "parked" in result} == set(Fault)
    assert sum("row" in result for result in results) > 15


def test_another_implementation_agrees_about_the_signatures() -> None:
    """No token that our verifier accepts has a signature that others refuse."""
    given = vectors("tokens")
    keys = joserfc.jwk.KeySet.import_key_set(given["keys"])
    valid = [each["token"] for each in given["tokens"] if each["valid"]]
    assert len(valid) >= 4
    for token in valid:
        joserfc.jws.deserialize_compact(token, keys, algorithms=["RS256"])
    forged = next(t for t in given["tokens"] if t["name"] == "signed by a stranger")
    with pytest.raises(JoseError):
        joserfc.jws.deserialize_compact(forged["token"], keys, algorithms=["RS256"])


ROW = row_of(a_state("ada", 5, roles=("a", "b")))
TOMBSTONE = row_of(a_tombstone("ada", 5))
CASES: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None, str | None]] = {
    "the same": (ROW, ROW, None),
    "roles in another order": (ROW, ROW | {"roles": ["b", "a"]}, None),
    "another role": (ROW, ROW | {"roles": ["a"]}, "roles is"),
    "a time with an offset": (ROW, ROW | {"created_at": "2026-01-01T13:00:00+01:00"}, None),
    "another time": (ROW, ROW | {"created_at": "2026-01-01T13:00:00Z"}, "created_at is"),
    "a version as text": (ROW, ROW | {"version": "5"}, "version is"),
    "no email": (ROW, {k: v for k, v in ROW.items() if k != "email"}, None),
    "no version": (ROW, {k: v for k, v in ROW.items() if k != "version"}, "has no version"),
    "a column of their own": (ROW, ROW | {"edition": 7}, None),
    "no row": (ROW, None, "no row"),
    "a row too many": (None, ROW, "should have none"),
    "a tombstone": (TOMBSTONE, TOMBSTONE | {"email_verified": False, "roles": []}, None),
    "personal data in a tombstone": (TOMBSTONE, TOMBSTONE | {"email": "a@b"}, "email is"),
    "a deletion that was missed": (TOMBSTONE, ROW, "deleted_at is None"),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_are_compared_by_meaning(name: str) -> None:
    wanted, found, why = CASES[name]
    case = {"name": name, "user": ROW["id"], "result": {"row": wanted}}
    said = list(judge.differences([case], [] if found is None else [found]))
    assert said == [] if why is None else why in said[0]
