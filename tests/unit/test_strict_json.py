"""Strict JSON for request bodies."""

import json

from service_kit.http.strict_json import MEMBERS_MAX, OBJECTS_MAX, NotStrict, strict_json
from tests.support.refusals import refusal


def test_ambiguous_json_is_refused() -> None:
    """The message does not repeat the body."""
    for body in (
        *(b"", b"{", b"{} {}", b"[" * 100_000, b'{"a":' * 13_000),
        *(b"9007199254740992", b"-9007199254740992", b"9" * 5_000),
        *(b"NaN", b"[Infinity]", b"-Infinity"),
        *(b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\x00"'),
        *(b'"\\ud800"', b'"\\udC00"', b'"\\uDBFFa\\udfff"', b'"\\ud83d\\u0041"'),
        *(b'"\\udc00\\ud800"', b'{"\\ud800": 1}', b'"\\u0000"', b'["\\\\", "\\\\\\u0000"]'),
        *(b'{"a": 1, "a": 2}', b'[{"a": 1, "\\u0061": 2}]'),
        json.dumps({str(number): 1 for number in range(MEMBERS_MAX + 1)}).encode(),
        json.dumps([{}] * (OBJECTS_MAX + 1)).encode(),
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
        b"\xef\xbb\xbf{}",
    ):
        assert len(str(refusal(NotStrict, strict_json, body))) < 60


def test_other_json_is_read_unchanged() -> None:
    values: tuple[object, ...] = (
        *(None, [], 2**53 - 1, -(2**53 - 1)),
        {"text": 'grüße \U0001f600 \n\t"\\', "": [1.5, -1, True]},
        "\\u0000 \\ud800 \\\\u0000",
        "\ufffd\uffff\ud7ff\ue000\x7f\x01",
        {str(number): 1 for number in range(MEMBERS_MAX)},
        [{}] * OBJECTS_MAX,
    )
    for value in values:
        for ascii_only in (True, False):
            assert strict_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value, value
