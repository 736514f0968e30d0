"""A database's address is read as libpq documents it, or refused with a sentence."""

import ssl
from pathlib import Path

import pytest

from service_kit.database.address import checked, read
from tests.support.tls import self_signed

ONE = "postgresql://auth:hunter2@db.example:5433/auth"
DRIVERS = "postgresql+asyncpg://auth:hunter2@"


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://auth:hunter2@a,b:5433/auth",
        "postgres://auth:hunter2@a:5432,b:5433/auth",
        "postgresql://auth:hunter2@/auth?host=a:5432&host=b:5433",
        "postgresql://auth:hunter2@/auth?host=a,b&port=5432,5433",
    ],
)
def test_several_hosts_are_accepted_in_every_spelling(given: str) -> None:
    found = checked(given)
    assert found == f"{DRIVERS}/auth?host=a:5432&host=b:5433"
    assert read(found).target == "read-write"
    assert checked(found) == found


def test_one_port_counts_for_all_hosts() -> None:
    assert checked("postgresql://a,b/auth?port=6000").endswith("?host=a:6000&host=b:6000")


def test_an_address_may_say_which_server_will_do() -> None:
    assert read(checked(f"{ONE}?target_session_attrs=primary")).target == "primary"
    assert read(checked(ONE)).target == "any"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("target_session_attrs=standby", "target_session_attrs must be one of any, read-write"),
        ("sslmode=verify", "sslmode must be one of disable, allow, prefer"),
        ("sslmode=verify-full", "sslmode=verify-full needs sslrootcert"),
        (
            "sslmode=verify-full&sslrootcert=/no/such",
            "sslrootcert names a file that cannot be read",
        ),
        ("sslmode=verify-ca&sslrootcert={key}", "sslrootcert names a file without a certificate"),
        ("sslrootcert={ca}", "sslrootcert needs sslmode: use verify-full"),
        ("sslmode=prefer&sslrootcert={ca}", "sslrootcert needs sslmode=verify-full"),
        ("sslmode=require&sslrootcert=system", "sslrootcert=system needs sslmode=verify-full"),
        ("sslmode=require&sslkey={key}", "sslkey needs sslcert"),
        ("sslmode=require&sslcert={ca}", "sslcert needs sslkey"),
        ("sslmode=require&sslcert=/no/such", "sslcert names a file that cannot be read"),
        ("sslmode=require&sslcert={ca}&sslkey={other}", "sslkey is not the key of sslcert"),
        ("sslmode=require&sslcert={ca}&sslkey={ca}", "no certificate and key"),
        ("sslnegotiation=direct", "has the parameter 'sslnegotiation', which is not supported"),
        ("connect_timeout=3", "has the parameter 'connect_timeout', which is not supported"),
    ],
)
def test_what_is_wrong_with_a_parameter_is_said(tmp_path: Path, parameters: str, said: str) -> None:
    """Neither the address nor a file's content is repeated."""
    ca, key = self_signed(tmp_path, ["a.example"])
    _, other = self_signed(tmp_path, ["b.example"])
    with pytest.raises(ValueError, match=said) as refused:
        checked(f"{ONE}?{parameters.format(ca=ca, key=key, other=other)}")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("parameters", "verify_mode", "checks_name"),
    [
        ("sslmode=require", ssl.CERT_NONE, False),
        ("sslmode=require&sslrootcert={ca}", ssl.CERT_REQUIRED, False),
        ("sslmode=verify-ca&sslrootcert={ca}", ssl.CERT_REQUIRED, False),
        ("sslmode=verify-full&sslrootcert={ca}", ssl.CERT_REQUIRED, True),
        ("sslrootcert=system", ssl.CERT_REQUIRED, True),
        ("sslmode=verify-full&sslrootcert={ca}&sslcert={ca}&sslkey={key}", ssl.CERT_REQUIRED, True),
    ],
)
def test_a_mode_verifies_what_libpq_says(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    parameters: str,
    verify_mode: ssl.VerifyMode,
    checks_name: bool,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ca, key = self_signed(tmp_path, ["a.example"])
    context = read(checked(f"{ONE}?{parameters.format(ca=ca, key=key)}")).context()
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (verify_mode, checks_name)


@pytest.mark.parametrize(
    ("parameters", "option"),
    [
        ("", None),
        ("?sslmode=disable", False),
        ("?sslmode=prefer", "prefer"),
        ("?ssl=allow", "allow"),
    ],
)
def test_weaker_modes_are_left_to_the_driver(parameters: str, option: object) -> None:
    assert read(checked(ONE + parameters)).context() == option
