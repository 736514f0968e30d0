"""Which key sets and keys are accepted, ignored or refused."""

import base64
import time
from functools import cache, partial
from math import gcd, prod
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from contracts.tokens import InvalidKeySet, TokenVerifier
from contracts.tokens.key_set import EXPONENT_MAX, KEYS_MAX
from contracts.tokens.keys import RSA_BITS_MAX, jwk
from tests.support.refusals import refusal

ISSUER = "https://auth.example"
AUDIENCE = "blog"

Json = dict[str, Any]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def uint(number: int) -> str:
    """Return a number as a JWK contains it."""
    return b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def verifier_of(*keys: object) -> TokenVerifier:
    return TokenVerifier.from_jwks({"keys": list(keys)}, issuer=ISSUER, audience=AUDIENCE)


@cache
def _another_key() -> rsa.RSAPublicKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()


def rsa_jwk(**changes: Any) -> Json:
    """Return a valid JWK with members changed; None removes one."""
    key = _another_key()
    return {name: value for name, value in (jwk(key) | changes).items() if value is not None}


def short_jwk() -> Json:
    return jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key())


def ec_jwk() -> Json:
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (b64(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "e", "use": "sig", "alg": "ES256"}


def modulus(key: Json) -> bytes:
    return base64.urlsafe_b64decode(key["n"] + "==")


def large_modulus(below: int = 2**RSA_BITS_MAX) -> int:
    """Return a modulus without small factors."""
    number = below - 1
    while gcd(number, prod(range(2, 168))) != 1:
        number -= 1
    return number


def roca_modulus(bits: int = 2048) -> int:
    """Return a modulus with the ROCA fingerprint, which does not depend on its factors."""
    primes = [n for n in range(2, 168) if all(n % d for d in range(2, n))]
    primorial = prod(primes)
    number = pow(65537, 1234, primorial)
    largest: int = number + primorial * ((2**bits - 1 - number) // primorial)
    return largest


UNSOUND: list[tuple[str, Any]] = [
    *(("n", value) for value in (7, "***", "", uint(large_modulus(2**1100) ** 2), uint(2**2048))),
    *(("n", uint(value)) for value in (3 * (2**2048 + 981), 2**RSA_BITS_MAX + 1, 2**65536 + 1)),
    ("e", "AAEAAQ"),
    ("e", "AQAA"),
    ("qi", ""),
]
"""Values of one member that make a key unsound."""

UNUSABLE: list[tuple[str, Any]] = [
    ("kty", "rsa"),
    ("kty", ["RSA"]),
    ("kty", {}),
    *(("kid", value) for value in ("", 7, "k" * 129, "a b", "a\n", "\x00", "é", "\ud800")),
    *(("use", value) for value in ("enc", ["sig"], "SIG", None)),
    *(("key_ops", value) for value in ([], ["encrypt"], "verify", None, ["sign"])),
    *(("key_ops", ["verify", other]) for other in ("verify", "encrypt")),
    ("key_ops", ["sign, verify"]),
    *(("alg", kind) for kind in ("PS256", "RS384", "RS512", "HS256", "rs256", "RSA1_5")),
    *(("alg", value) for value in ("none", ["RS256"])),
]
"""Values of one member that show another purpose."""


@pytest.mark.parametrize("absent", ["use", "alg", "key_ops"])
def test_optional_members_may_be_absent(absent: str) -> None:
    assert verifier_of(rsa_jwk(**{absent: None}))


def test_an_unsound_key_makes_the_whole_set_invalid() -> None:
    """Weak, malformed, private or symmetric keys show that the publisher makes mistakes."""
    n, e = rsa_jwk()["n"], "AQAB"
    unsound: tuple[object, ...] = (
        *(rsa_jwk() | {name: value} for name, value in UNSOUND),
        *("a key", None, short_jwk(), rsa_jwk(n=None), rsa_jwk(e=None), rsa_jwk(e=n)),
        *(rsa_jwk(n=other) for other in (n + "=", "AA" + n, n + "\ud800")),
        rsa_jwk(n=b64(b"\0" + modulus(rsa_jwk()))),
        rsa_jwk(kty="oct", k="c2VjcmV0"),
        rsa_jwk(kid=None, n=uint(roca_modulus())),
        *(rsa_jwk(use="enc", d=e), rsa_jwk(alg="PS256", p=e), ec_jwk() | {"d": e}, {"d": e}),
        *({"kty": "oct", "kid": "o", "k": "c2VjcmV0"}, {"kty": "oct", "kid": "o"}),
        {"kty": "OKP", "crv": "Ed25519", "x": e, "d": e, "kid": "o"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": e, "priv": e},
        *({"kty": "tomorrow", "k": e}, ec_jwk() | {"kty": "RSA", "alg": "RS256"}),
    )
    for key in unsound:
        refusal(InvalidKeySet, verifier_of, rsa_jwk(kid="good"), key)


def test_a_key_for_another_purpose_is_ignored() -> None:
    """RFC 7517, section 5, lets sets grow; a set of only such keys is invalid."""
    good = rsa_jwk(kid="good", x5t="AQAB", tomorrow=[1])
    others: tuple[Json, ...] = (
        *(rsa_jwk() | {name: value} for name, value in UNUSABLE),
        *(ec_jwk(), rsa_jwk(kty=None), rsa_jwk(kid=None), {"kty": "tomorrow"}, {}),
        rsa_jwk(use="sig", key_ops=["wrapKey", "verify"]),
        rsa_jwk(use="enc", key_ops=["verify"]),
        *(rsa_jwk(alg="PS256", n=uint(3)), rsa_jwk(use="enc", n="***")),
        {"kty": "OKP", "crv": "Ed25519", "x": "AQAB", "kid": "o", "alg": "EdDSA"},
        {"kty": "OKP", "crv": "X25519", "x": "AQAB", "use": "enc"},
        {"kty": "EC", "crv": "secp256k1", "x": 7},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB", "kid": "pq"},
    )
    for other in others:
        for keys in ([good, other], [other, good], [other, good, other]):
            assert verifier_of(*keys).has_key("good"), other
        refused = refusal(InvalidKeySet, verifier_of, other, other)
        assert "no key of the set verifies RS256" in str(refused)


def test_a_key_for_another_purpose_may_share_the_kid() -> None:
    """RFC 7517, section 4.5: keys of different types may share one."""
    good, ec, enc = rsa_jwk(kid="shared"), ec_jwk() | {"kid": "shared"}, rsa_jwk(use="enc")
    for keys in ([good, ec, enc | {"kid": "shared"}], [enc | {"kid": "shared"}, ec, good]):
        assert verifier_of(*keys).has_key("shared")


def test_a_set_without_keys_is_invalid() -> None:
    """The mistake is reported at the start, not with the first request."""
    key_sets: tuple[Any, ...] = (
        *({}, {"keys": []}, {"keys": {}}, {"keys": None}, {"KEYS": []}, [], "keys", None),
        *(b"{}", 7, object, [{"kty": "RSA"}], {"keys": ["a"]}, {"keys": [None]}),
        *({"keys": [[]]}, {"keys": "RSA"}, {"keys": ({},)}, {b"keys": []}),
    )
    for key_set in key_sets:
        read = partial(TokenVerifier.from_jwks, issuer=ISSUER, audience=AUDIENCE)
        refusal(InvalidKeySet, read, key_set)


def test_two_usable_keys_with_the_same_kid_are_refused() -> None:
    """It would be undefined which of them verifies."""
    one = rsa_jwk()
    with pytest.raises(InvalidKeySet, match="same kid"):
        verifier_of(one, rsa_jwk(kid=one["kid"]))


def test_a_set_has_at_most_32_keys() -> None:
    """A larger one is refused before any key is read."""
    with pytest.raises(InvalidKeySet, match="from 1 to 32"):
        verifier_of(*({} for _ in range(KEYS_MAX + 1)))


@pytest.mark.parametrize("private", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
def test_every_private_member_is_detected(private: str) -> None:
    """A published private key is compromised."""
    with pytest.raises(InvalidKeySet, match="private"):
        verifier_of(rsa_jwk(**{private: "AQAB"}))


@pytest.mark.parametrize("exponent", [1, 3, 65535, 65538, EXPONENT_MAX + 2])
def test_an_exponent_must_be_odd_and_within_limits(exponent: int) -> None:
    """With 1 every value is a signature; a long one slows down every verification."""
    with pytest.raises(InvalidKeySet, match="exponent"):
        verifier_of(rsa_jwk(e=uint(exponent)))


def test_keys_at_the_limits_are_accepted() -> None:
    keys = [rsa_jwk(kid=f"{number}") for number in range(KEYS_MAX - 2)]
    largest = rsa_jwk(kid="k" * 128, n=uint(large_modulus()), e=uint(EXPONENT_MAX))
    assert verifier_of(largest, rsa_jwk(key_ops=["sign", "verify"]), *keys)


def test_keys_of_the_flawed_library_are_refused() -> None:
    """ROCA (CVE-2017-15361) is detected by its fingerprint, in every size."""
    for bits in (2048, 3072, 4096):
        with pytest.raises(InvalidKeySet, match="ROCA"):
            verifier_of(rsa_jwk(n=uint(roca_modulus(bits))))
    for _ in range(3):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        assert verifier_of(jwk(key.public_key()))


def test_reading_the_worst_set_does_not_block_the_loop() -> None:
    """The cache reads at most 64 KiB of a response."""
    largest = [
        rsa_jwk(kid=f"{number}", n=uint(large_modulus(below=2**RSA_BITS_MAX - 10**6 * number)))
        for number in range(KEYS_MAX - 1)
    ]
    endless = rsa_jwk(n="A" * 10_000_000)

    for keys in (largest, [endless]):
        began = time.thread_time()
        with pytest.raises(InvalidKeySet):
            verifier_of(*keys, "no key")
        assert time.thread_time() - began < 0.02


@given(
    st.sampled_from(["kty", "kid", "use", "key_ops", "alg", "n", "e"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
)
def test_a_member_of_any_type_is_accepted_or_invalid(
    signing_key: rsa.RSAPrivateKey, name: str, value: object
) -> None:
    try:
        verifier = verifier_of(jwk(signing_key.public_key()) | {name: value})
    except InvalidKeySet:
        return
    assert isinstance(verifier, TokenVerifier)
