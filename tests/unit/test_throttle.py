"""Rates and delays, without a database."""

import pytest

from auth_service.throttle.model import Balance, Charge, delays, headers
from auth_service.throttle.network import SITE_FACTOR, network_charges
from service_kit.http.networks import network
from service_kit.process.rates import Rate, rate
from tests.support.refusals import refusal

SIGNIN = Rate(30, 60)


def a_balance(*, out_seconds: float, fits: bool = True, rate: Rate = SIGNIN) -> Balance:
    """A balance of which the spent units need this long to return."""
    return Balance(Charge("signin", "192.0.2.1", rate), fits, round(out_seconds * 1_000_000))


@pytest.mark.parametrize("text", ["30/60", " 30 / 60 "])
def test_a_rate_is_a_quota_and_seconds(text: str) -> None:
    """As written in a setting, and back."""
    assert rate(text) == SIGNIN
    assert str(rate(text)) == "30/60"
    assert rate(SIGNIN) is SIGNIN


def test_what_is_no_rate_is_refused() -> None:
    for text in ("", "30", "30/", "/60", "0/60", "30/0", "-1/60", "3.5/60", "٣/60"):
        assert "QUOTA/SECONDS" in str(refusal(ValueError, rate, text))


@pytest.mark.parametrize("rate", [Rate(7, 60), Rate(3, 1), Rate(30, 60), Rate(600_000, 60)])
def test_the_whole_quota_fits_whatever_the_division_leaves(rate: Rate) -> None:
    """Microseconds are rounded down; else the last of seven in a minute would be refused."""
    assert rate.quota * rate.unit_us <= rate.window_us
    assert a_balance(out_seconds=0, rate=rate).remaining == rate.quota


def test_what_is_left_comes_back_bit_by_bit() -> None:
    """Two seconds a unit: the next one returns when the oldest has."""
    untouched, some, none = (a_balance(out_seconds=out) for out in (0, 31.5, 60))
    assert (untouched.remaining, untouched.reset_seconds) == (30, 2.0)
    assert (some.remaining, some.reset_seconds) == (14, 1.5)
    assert (none.remaining, none.reset_seconds) == (0, 2.0)


def test_the_headers_tell_of_the_tightest_limit() -> None:
    """Of those with the least left, the one that takes longest to recover."""
    wide = a_balance(out_seconds=2)
    tight = Balance(Charge("account", "x", Rate(5, 300)), True, 240_000_000)
    assert headers([wide, tight]) == {
        "RateLimit-Policy": '"account";q=5;w=300',
        "RateLimit": '"account";r=1;t=60',
    }


def test_a_refusal_says_when_to_come_back() -> None:
    """The longest wait of the limits that refused, even if another has less left."""
    fits = Balance(Charge("other", "x", Rate(1, 3600)), True, 3600_000_000)
    soon, late = (a_balance(out_seconds=out, fits=False) for out in (58.5, 59.9))

    assert headers([fits, soon, late]) == {
        "RateLimit-Policy": '"signin";q=30;w=60',
        "RateLimit": '"signin";r=0;t=2',
        "Retry-After": "2",
    }


def test_delays_double_up_to_the_limit() -> None:
    for seconds_max, expected in (
        (900, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]),
        (4, [1, 2, 4]),
        (1, [1]),
    ):
        assert delays(seconds_max) == expected


OF_ONE_CUSTOMER = """
    192.0.2.7 ::ffff:192.0.2.7 2002:c000:207:1::7 2002:c000:207:ffff::
    2001:0:cb00:7101:8000:f3a5:3fff:fdf8 64:ff9b::192.0.2.7
"""


def test_a_network_is_what_one_customer_has() -> None:
    """One IPv4 address, also one carried by an IPv6 address, or a whole /64."""
    for address, expected in (
        *((address, "192.0.2.7") for address in OF_ONE_CUSTOMER.split()),
        *(("2001:db8:1:2::7", "2001:db8:1:2::/64"), ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64")),
        *(("2001:db8:1:3::7", "2001:db8:1:3::/64"), ("fe80::1%eth0", "fe80::/64")),
        *(("", ""), ("unix", "unix")),
    ):
        assert network(address) == expected, address


def test_an_ipv6_site_has_a_limit_of_its_own() -> None:
    """A customer with a /48 has 65,536 networks, with the limit of four of them in total."""
    one, other = (network_charges("signin", network(f"2001:db8:7:{n}::1"), SIGNIN) for n in (1, 2))

    assert [charge.who for charge in one] == ["2001:db8:7:1::/64", "2001:db8:7::/48"]
    assert [charge.name for charge in one] == ["signin", "signin_site"]
    assert one[0] != other[0]
    assert one[1] == other[1]
    assert one[1].rate == Rate(SIGNIN.quota * SITE_FACTOR, SIGNIN.seconds)
    assert network_charges("signin", network("2001:db8:8:1::1"), SIGNIN)[1] != one[1]


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "2002:c000:207::1", "", "x"])
def test_an_ipv4_address_is_charged_once(address: str) -> None:
    assert network_charges("signin", network(address), SIGNIN) == (
        Charge("signin", network(address), SIGNIN),
    )
