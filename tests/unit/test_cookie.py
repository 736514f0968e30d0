"""Which cookie holds the refresh token: the one with exactly the right name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from auth_service.sessions.cookie import COOKIE, is_sent, sent_token

NAME = COOKIE.encode()
RIGHT = NAME + b"=rt_1"

IMPOSTORS = [
    b"\xa0" + RIGHT,  # U+00A0 and U+0085 in Latin-1: what frameworks strip
    b"\x85" + RIGHT,
    *(space.encode() + RIGHT for space in "\N{NO-BREAK SPACE}\N{NEXT LINE}\N{EM SPACE}"),
    *(space.encode() + RIGHT for space in "\N{ZERO WIDTH SPACE}\N{IDEOGRAPHIC SPACE}"),
    *(control + RIGHT for control in (b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x1f")),
    *(NAME + after + b"=rt_1" for after in (b"\xa0", b" ", b"\t", b"x")),
    b"__host-refresh=rt_1",
    b"__HOST-REFRESH=rt_1",
    b"%5F_Host-refresh=rt_1",
    b'"' + NAME + b'"=rt_1',
    *(before + RIGHT for before in (b"=", b"==", b"a=", b"x", b"$")),
    b"__Secure-refresh=rt_1",
    NAME,
]


def sent(*values: bytes) -> Headers:
    return Headers(raw=[(b"host", b"auth.test"), *((b"cookie", value) for value in values)])


def test_the_right_one_is_found_among_others() -> None:
    for value in (
        *(RIGHT, b"a=b; " + RIGHT, b"a=b;" + RIGHT + b"; c=d", b";; ;" + RIGHT + b";"),
        *(b"\t" + RIGHT + b"\t", b"=; " + RIGHT),
        b"a=" + b"x" * 100_000 + b"; " + RIGHT,
    ):
        assert sent_token(sent(value)) == "rt_1", value
        assert is_sent(sent(value)), value


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_a_similar_name_is_ignored(impostor: bytes) -> None:
    assert sent_token(sent(impostor)) is None
    assert not is_sent(sent(impostor))
    for value in (impostor + b"; " + RIGHT, RIGHT + b"; " + impostor):
        assert sent_token(sent(value)) == "rt_1"
    assert sent_token(sent(impostor, RIGHT)) == "rt_1"


def test_of_two_none_counts() -> None:
    """In one header or in two, even with the same value."""
    for values in (
        (RIGHT + b"; " + NAME + b"=rt_2",),
        (RIGHT + b"; " + RIGHT,),
        (RIGHT + b"; " + NAME + b"=",),
        (RIGHT, NAME + b"=rt_2"),
    ):
        assert sent_token(sent(*values)) is None, values
        assert is_sent(sent(*values)), values


def test_a_value_is_taken_as_it_is() -> None:
    """Quotes and escapes are part of it: no token of this service has any."""
    assert sent_token(sent(NAME + b'="rt_1"')) == '"rt_1"'
    assert sent_token(sent(NAME + b"=rt=1")) == "rt=1"
    assert sent_token(sent(NAME + b"=rt_1\xa0")) == "rt_1\xa0"


def test_without_a_header_there_is_none() -> None:
    assert sent_token(Headers(raw=[])) is None
    assert not is_sent(Headers(raw=[]))


@given(st.lists(st.binary(max_size=20).filter(lambda cookie: NAME not in cookie), max_size=5))
def test_no_bytes_make_one(cookies: list[bytes]) -> None:
    assert sent_token(sent(b"; ".join(cookies))) is None
    assert sent_token(sent(b"; ".join([*cookies, RIGHT]))) == "rt_1"
