"""Access tokens: what the signer makes is accepted, and nothing that only looks like it."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt as jose
from joserfc.jwk import RSAKey

from auth_service.tokens.sign import TokenSigner
from auth_service.users.model import User
from contracts.keys import jwk, jwks
from contracts.tokens import (
    LEEWAY_SECONDS,
    LIFETIME_SECONDS_MAX,
    TOKEN_BYTES_MAX,
    InvalidKeySet,
    InvalidToken,
    TokenVerifier,
)
from tests.support.builders import NOON

ISSUER = "https://auth.example"
AUDIENCE = "blog"
USER_ID = "7f9c24e8-3b12-4fef-91e0-56a2d5a1c3b4"
NOW = 1_767_268_800

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still at NOW."""
    monkeypatch.setattr(time, "time", lambda: float(NOW))


@pytest.fixture(scope="module")
def kid(signing_key: rsa.RSAPrivateKey) -> str:
    """The signing key's id."""
    kid: str = jwk(signing_key.public_key())["kid"]
    return kid


@pytest.fixture(scope="module")
def verifier(signing_key: rsa.RSAPrivateKey) -> TokenVerifier:
    """A verifier that has the signing key's public half."""
    return TokenVerifier.from_jwks(jwks(signing_key.public_key()), issuer=ISSUER, audience=AUDIENCE)


@pytest.fixture(scope="module")
def header(kid: str) -> Json:
    """The header of a good token."""
    return {"alg": "RS256", "typ": "at+jwt", "kid": kid}


def claims(**changes: Any) -> Json:
    """The claims of a good token; None takes one away."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": USER_ID,
        "client_id": "first_party",
        "iat": NOW,
        "exp": NOW + 900,
        "jti": "9f0c",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def service(**changes: Any) -> Json:
    """The claims of a service's good token."""
    return claims(
        **({"sub": "svc_feed", "client_id": "svc_feed", "scope": "posts:write"} | changes)
    )


def user(**changes: Any) -> User:
    """A living user."""
    values: Json = {
        "id": uuid4(),
        "version": NOW * 1_000_000,
        "email": "ada@example.org",
        "email_verified": True,
        "roles": ("admin", "moderator"),
        "status": "active",
        "tokens_valid_after": None,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return User(**(values | changes))


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(key: rsa.RSAPrivateKey, header: bytes | Json, payload: bytes | Json) -> str:
    """A compact JWS of whatever stands in header and payload, with a good RS256 signature."""
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)
    ]
    message = ".".join(map(b64, parts))
    signature = key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{message}.{b64(signature)}"


def reason(verifier: TokenVerifier, token: str) -> str:
    """Why ``token`` is refused; the message says the same of each."""
    with pytest.raises(InvalidToken) as caught:
        verifier.verify(token)
    assert str(caught.value) == "the access token is invalid or has expired"
    return caught.value.reason


class TestAccepted:
    """What the signer makes, and what a second implementation makes of the same claims."""

    @pytest.fixture
    def signer(self, signing_key: rsa.RSAPrivateKey) -> TokenSigner:
        """A signer whose tokens last for 15 minutes."""
        return TokenSigner(signing_key, issuer=ISSUER, audience=AUDIENCE, lifetime_seconds=900)

    def test_a_signed_users_token(self, signer: TokenSigner, verifier: TokenVerifier) -> None:
        """The verifier reads back whom and what it was signed for."""
        ada = user()

        token = verifier.verify(signer.sign(ada))

        assert token.user_id == ada.id
        assert token.roles == {"admin", "moderator"}
        assert token.scopes == frozenset()
        assert token.user_version == ada.version
        assert (token.issued_at, token.expires_at) == (NOW, NOW + 900)
        assert (token.issuer, token.audience) == (ISSUER, AUDIENCE)

    def test_each_token_has_an_id_of_its_own(
        self, signer: TokenSigner, verifier: TokenVerifier
    ) -> None:
        """Two tokens of one user in one second differ."""
        ada = user()

        one, other = verifier.verify(signer.sign(ada)), verifier.verify(signer.sign(ada))

        assert one.jti != other.jti

    def test_iat_is_never_before_tokens_valid_after(
        self, signer: TokenSigner, verifier: TokenVerifier
    ) -> None:
        """The token of a sign-in right after a revocation is not refused with the revoked ones."""
        valid_after = NOON.fromtimestamp(NOW + 1, NOON.tzinfo)

        token = verifier.verify(signer.sign(user(tokens_valid_after=valid_after)))

        assert token.issued_at == NOW + 1
        assert token.expires_at == NOW + 901

    def test_a_long_past_revocation_does_not_age_a_token(
        self, signer: TokenSigner, verifier: TokenVerifier
    ) -> None:
        """``iat`` is the later of now and ``tokens_valid_after``."""
        long_past = NOON.fromtimestamp(NOW - 10_000, NOON.tzinfo)

        assert verifier.verify(signer.sign(user(tokens_valid_after=long_past))).issued_at == NOW

    def test_a_second_implementation_verifies_what_we_sign(
        self, signer: TokenSigner, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """Joserfc finds the signature good, with the key that our JWK Set shows."""
        key = RSAKey.import_key(jwk(signing_key.public_key()))

        token = jose.decode(signer.sign(user()), key, algorithms=["RS256"])

        assert token.claims["iss"] == ISSUER

    def test_we_verify_what_a_second_implementation_signs(
        self, header: Json, private_pem: str, verifier: TokenVerifier
    ) -> None:
        """A token by joserfc is as good."""
        token = jose.encode(header, claims(), RSAKey.import_key(private_pem))

        assert str(verifier.verify(token).user_id) == USER_ID

    @pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
    def test_every_spelling_of_the_type(
        self, typ: str, signing_key: rsa.RSAPrivateKey, header: Json, verifier: TokenVerifier
    ) -> None:
        """Media types are compared without case, with or without ``application/`` (RFC 7515)."""
        assert verifier.verify(signed(signing_key, header | {"typ": typ}, claims()))

    @pytest.mark.parametrize(
        "payload",
        [
            claims(iat=NOW - 60, exp=NOW - LEEWAY_SECONDS + 1),
            claims(iat=NOW + LEEWAY_SECONDS, exp=NOW + 900),
            claims(nbf=NOW + LEEWAY_SECONDS),
            claims(exp=NOW + LIFETIME_SECONDS_MAX),
            claims(roles=[], scope="a b:c", sid="s", user_version=0),
            claims(tomorrow={"unknown": 1}),
            service(),
        ],
        ids=[
            "leeway after exp",
            "leeway before iat",
            "nbf",
            "longest",
            "options",
            "new",
            "service",
        ],
    )
    def test_what_is_just_within_the_rules(
        self,
        payload: Json,
        signing_key: rsa.RSAPrivateKey,
        header: Json,
        verifier: TokenVerifier,
    ) -> None:
        """Every limit is inclusive, clocks may differ by the leeway, unknown claims are ignored."""
        assert verifier.verify(signed(signing_key, header, payload))

    def test_a_services_token_is_no_users(
        self, signing_key: rsa.RSAPrivateKey, header: Json, verifier: TokenVerifier
    ) -> None:
        """A service has a client id and scopes, and no user id."""
        token = verifier.verify(signed(signing_key, header, service(scope="a posts:write")))

        assert token.user_id is None
        assert token.subject == token.client_id == "svc_feed"
        assert token.scopes == {"a", "posts:write"}


HOSTILE_HEADERS: dict[str, Json] = {
    "alg none": {"alg": "none"},
    "alg NoNe": {"alg": "NoNe"},
    "alg in lower case": {"alg": "rs256"},
    "alg of the same key": {"alg": "PS256"},
    "alg as list": {"alg": ["RS256"]},
    "alg missing": {"alg": None},
    "typ JWT": {"typ": "JWT"},
    "typ missing": {"typ": None},
    "typ of a logout token": {"typ": "logout+jwt"},
    "typ as list": {"typ": ["at+jwt"]},
    "kid missing": {"kid": None},
    "kid unknown": {"kid": "unknown"},
    "kid as path": {"kid": "../../../../dev/null"},
    "kid as SQL": {"kid": "' OR 1=1 --"},
    "kid as number": {"kid": 1},
    "kid as list": {"kid": ["x"]},
    "cty": {"cty": "JWT"},
    "zip": {"zip": "DEF"},
    "jku": {"jku": "https://evil.example/jwks.json"},
    "x5u": {"x5u": "https://evil.example/cert.pem"},
    "x5c": {"x5c": ["MIIB"]},
    "jwk": {"jwk": {"kty": "RSA"}},
    "crit": {"crit": ["b64"], "b64": True},
    "crit empty": {"crit": []},
    "b64": {"b64": False},
}

HOSTILE_CLAIMS: dict[str, Json] = {
    **{f"{name} missing": claims(**{name: None}) for name in claims()},
    **{f"{name} empty": claims(**{name: ""}) for name in ("iss", "aud", "sub", "client_id", "jti")},
    "iss of another": claims(iss="https://evil.example"),
    "iss with a slash": claims(iss=f"{ISSUER}/"),
    "iss as list": claims(iss=[ISSUER]),
    "aud of another": claims(aud="shop"),
    "aud as list": claims(aud=[AUDIENCE]),
    "aud as list of many": claims(aud=["shop", AUDIENCE]),
    "aud as part": claims(aud="blogs"),
    "sub as number": claims(sub=7),
    "sub as e-mail": claims(sub="ada@example.org"),
    "sub in upper case": claims(sub=USER_ID.upper()),
    "sub without dashes": claims(sub=USER_ID.replace("-", "")),
    "sub in braces": claims(sub=f"{{{USER_ID}}}"),
    "sub with NUL": claims(sub=f"{USER_ID}\x00"),
    "client_id as list": claims(client_id=["first_party"]),
    "a user at a service": claims(client_id="svc_feed"),
    "a service at a user": service(client_id="first_party"),
    "one service as another": service(client_id="svc_other"),
    "a service by its first letters": claims(sub="svc", client_id="svc"),
    "exp as text": claims(exp=str(NOW + 900)),
    "exp as float": claims(exp=NOW + 900.5),
    "exp as whole float": claims(exp=NOW + 900.0),
    "exp huge": claims(exp=10**30),
    "exp beyond 53 bits": claims(exp=2**53),
    "exp negative": claims(exp=-1),
    "exp true": claims(exp=True),
    "iat as text": claims(iat=str(NOW)),
    "iat as float": claims(iat=float(NOW)),
    "iat negative": claims(iat=-1),
    "ten years": claims(exp=NOW + 10 * 365 * 86_400),
    "a second too long": claims(exp=NOW + LIFETIME_SECONDS_MAX + 1),
    "long, though old": claims(iat=NOW - LIFETIME_SECONDS_MAX, exp=NOW + 1),
    "no lifetime": claims(exp=NOW),
    "turned round": claims(iat=NOW + 3, exp=NOW + 2),
    "expired": claims(iat=NOW - 900, exp=NOW - 60),
    "expired at the leeway": claims(iat=NOW - 900, exp=NOW - LEEWAY_SECONDS),
    "from the future": claims(iat=NOW + LEEWAY_SECONDS + 1),
    "not yet": claims(nbf=NOW + LEEWAY_SECONDS + 1),
    "nbf as text": claims(nbf=str(NOW)),
    "jti as number": claims(jti=1),
    "jti too long": claims(jti="x" * 513),
    "scope as list": claims(scope=["posts:write"]),
    "scope empty": claims(scope=""),
    "scope with two spaces": claims(scope="a  b"),
    "scope with a quote": claims(scope='a"b'),
    "scope with a line end": claims(scope="a\n"),
    "roles as text": claims(roles="admin"),
    "roles of numbers": claims(roles=[1]),
    "roles with an empty one": claims(roles=[""]),
    "roles as null": claims() | {"roles": None},
    "too many roles": claims(roles=["r"] * 65),
    "user_version as text": claims(user_version="7"),
    "user_version true": claims(user_version=True),
    "user_version negative": claims(user_version=-1),
    "user_version beyond 53 bits": claims(user_version=2**53),
}


class TestRefused:
    """Hostile tokens; unless they say otherwise they are signed with the right key."""

    @pytest.mark.parametrize("changes", HOSTILE_HEADERS.values(), ids=HOSTILE_HEADERS.keys())
    def test_a_hostile_header(
        self, changes: Json, signing_key: rsa.RSAPrivateKey, header: Json, verifier: TokenVerifier
    ) -> None:
        """A header holds alg, typ and kid, with the one value that each may have."""
        changed = {name: value for name, value in (header | changes).items() if value is not None}

        assert reason(verifier, signed(signing_key, changed, claims()))

    @pytest.mark.parametrize("payload", HOSTILE_CLAIMS.values(), ids=HOSTILE_CLAIMS.keys())
    def test_hostile_claims(
        self, payload: Json, signing_key: rsa.RSAPrivateKey, header: Json, verifier: TokenVerifier
    ) -> None:
        """All claims of RFC 9068 are required, typed and bounded; users and services never mix."""
        assert reason(verifier, signed(signing_key, header, payload))

    @pytest.mark.parametrize(
        "payload",
        [
            json.dumps(claims()).encode("utf-16"),
            json.dumps(claims()).encode("utf-8-sig"),
            json.dumps(claims()).encode().replace(b"first_party", b"\xff\xfe"),
            json.dumps(claims()).encode()[:-1] + b', "sub": "svc_admin"}',
            json.dumps(claims()).encode()[:-1] + b', "x": NaN}',
            json.dumps(claims()).encode().replace(str(NOW + 900).encode(), b"NaN"),
            json.dumps(claims()).encode().replace(str(NOW + 900).encode(), b"Infinity"),
            json.dumps(claims()).encode().replace(str(NOW + 900).encode(), b"9" * 5_000),
            json.dumps(claims()).encode() + b"{}",
            json.dumps([claims()]).encode(),
            b"[" * 5_000,
            b"null",
            b"",
        ],
        ids=[
            "UTF-16",
            "byte order mark",
            "no UTF-8",
            "a name twice",
            "NaN in addition",
            "NaN",
            "Infinity",
            "digits",
            "more",
            "list",
            "deep",
            "null",
            "empty",
        ],
    )
    def test_a_payload_that_is_no_strict_json(
        self,
        payload: bytes,
        signing_key: rsa.RSAPrivateKey,
        header: Json,
        verifier: TokenVerifier,
    ) -> None:
        """UTF-8 alone, no name twice, no constants that JSON lacks, nothing but an object."""
        assert reason(verifier, signed(signing_key, header, payload))

    def test_a_name_twice_in_the_header(
        self, signing_key: rsa.RSAPrivateKey, header: Json, verifier: TokenVerifier
    ) -> None:
        """Two readers could each believe another one."""
        twice = json.dumps(header).encode()[:-1] + b', "alg": "RS256"}'

        assert reason(verifier, signed(signing_key, twice, claims()))

    @pytest.mark.parametrize(
        "change",
        [
            lambda token: f"{token}=",
            lambda token: f"{token}==",
            lambda token: token.replace(".", "=.", 1),
            lambda token: f" {token}",
            lambda token: f"{token}\n",
            lambda token: f"{token}.",
            lambda token: f"{token}.x",
            lambda token: f".{token}",
            lambda token: token.rpartition(".")[0],
            lambda token: token.rpartition(".")[0] + ".",
            lambda token: token.rpartition(".")[0] + ".AA",
            lambda token: token.replace(".", "..", 1),
            lambda token: token.replace(".", "é", 1),
            lambda token: token + "\x00",
            lambda token: json.dumps({"token": token}),
            lambda _: "",
            lambda _: "..",
            lambda _: "a.b.c",
            lambda _: "svc_live_key_0123456789abcdef",
        ],
    )
    def test_another_form(
        self,
        change: Callable[[str], str],
        signing_key: rsa.RSAPrivateKey,
        header: Json,
        verifier: TokenVerifier,
    ) -> None:
        """Three segments of base64url without padding, and nothing round them."""
        token = signed(signing_key, header, claims())

        assert reason(verifier, change(token))

    def test_one_that_is_too_large(
        self, signing_key: rsa.RSAPrivateKey, header: Json, verifier: TokenVerifier
    ) -> None:
        """More than 8 KiB is not even parsed; up to that a token is read."""
        room = TOKEN_BYTES_MAX - len(signed(signing_key, header, claims(pad="")))
        large = [
            signed(signing_key, header, claims(pad="x" * (room * 3 // 4 + d))) for d in (-8, 8)
        ]

        assert len(large[0]) <= TOKEN_BYTES_MAX < len(large[1])
        assert verifier.verify(large[0])
        assert "bounded size" in reason(verifier, large[1])

    def test_the_public_key_as_hmac_secret(
        self, public_pem: str, header: Json, verifier: TokenVerifier
    ) -> None:
        """Anybody has the public key (CVE-2015-9235)."""
        message = f"{b64(json.dumps(header | {'alg': 'HS256'}).encode())}." + b64(
            json.dumps(claims()).encode()
        )
        mac = hmac.new(public_pem.encode(), message.encode(), hashlib.sha256).digest()

        assert reason(verifier, f"{message}.{b64(mac)}")

    def test_an_hmac_under_a_header_that_says_rs256(
        self, public_pem: str, header: Json, verifier: TokenVerifier
    ) -> None:
        """The algorithm is the key's own."""
        message = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims()).encode())}"
        mac = hmac.new(public_pem.encode(), message.encode(), hashlib.sha256).digest()

        assert reason(verifier, f"{message}.{b64(mac)}")

    def test_the_signature_of_another_key(self, header: Json, verifier: TokenVerifier) -> None:
        """The kid alone proves nothing."""
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)

        assert reason(verifier, signed(other, header, claims()))

    @pytest.mark.parametrize("segment", [0, 1])
    def test_another_header_or_payload_under_the_same_signature(
        self,
        segment: int,
        signing_key: rsa.RSAPrivateKey,
        header: Json,
        verifier: TokenVerifier,
    ) -> None:
        """Any character of them changed breaks the signature."""
        parts = signed(signing_key, header, claims()).split(".")
        whole = parts[segment]
        for place, character in enumerate(whole):
            other = "A" if character != "A" else "B"
            parts[segment] = whole[:place] + other + whole[place + 1 :]

            assert reason(verifier, ".".join(parts))

    @given(st.text() | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]+", fullmatch=True))
    def test_any_text(self, verifier: TokenVerifier, text: str) -> None:
        """Arbitrary text raises nothing but InvalidToken."""
        assert reason(verifier, text)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
        ),
        st.sampled_from([*sorted(claims()), "nbf", "scope", "roles", "user_version"]),
    )
    def test_any_claim_of_any_type(
        self,
        signing_key: rsa.RSAPrivateKey,
        header: Json,
        verifier: TokenVerifier,
        value: object,
        name: str,
    ) -> None:
        """A claim of any type is good or raises InvalidToken, nothing else."""
        try:
            token = verifier.verify(signed(signing_key, header, claims() | {name: value}))
        except InvalidToken:
            return
        assert token.subject == USER_ID


@cache
def _another_key() -> rsa.RSAPublicKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()


def rsa_jwk(**changes: Any) -> Json:
    """A good JWK with members changed; None takes one away."""
    key = _another_key()
    return {name: value for name, value in (jwk(key) | changes).items() if value is not None}


def short_jwk() -> Json:
    """A JWK of 1024 bits."""
    return jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key())


def ec_jwk() -> Json:
    """A JWK on a curve."""
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (b64(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "e", "use": "sig", "alg": "ES256"}


class TestKeySet:
    """A key set that breaks the rules is no key set."""

    @pytest.mark.parametrize("absent", ["use", "alg", "key_ops"])
    def test_optional_members_may_be_absent(self, absent: str) -> None:
        """RFC 7517 requires none of them."""
        assert verifier_of(rsa_jwk(**{absent: None}))

    def test_each_of_several_keys_verifies_its_own_tokens(self) -> None:
        """While keys rotate, two are in use."""
        keys = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]
        shown = [jwk(key.public_key()) for key in keys]
        verifier = verifier_of(*shown)

        for key, other, public in zip(keys, reversed(keys), shown, strict=True):
            header = {"alg": "RS256", "typ": "at+jwt", "kid": public["kid"]}
            assert verifier.verify(signed(key, header, claims()))
            assert reason(verifier, signed(other, header, claims()))

    @pytest.mark.parametrize(
        "make",
        [
            lambda: "a key",
            lambda: None,
            short_jwk,
            ec_jwk,
            lambda: {"kty": "oct", "kid": "o", "k": "c2VjcmV0"},
            lambda: rsa_jwk(kty=None),
            lambda: rsa_jwk(kid=None),
            lambda: rsa_jwk(kid=""),
            lambda: rsa_jwk(kid=7),
            lambda: rsa_jwk(kid="k" * 129),
            lambda: rsa_jwk(use="enc"),
            lambda: rsa_jwk(use=["sig"]),
            lambda: rsa_jwk(key_ops=["encrypt"]),
            lambda: rsa_jwk(key_ops=[]),
            lambda: rsa_jwk(key_ops="verify"),
            lambda: rsa_jwk() | {"key_ops": None},
            lambda: rsa_jwk(alg="PS256"),
            lambda: rsa_jwk(alg="RS384"),
            lambda: rsa_jwk(d="AQAB"),
            lambda: rsa_jwk(p="AQAB"),
            lambda: rsa_jwk(k="c2VjcmV0"),
            lambda: rsa_jwk(n=None),
            lambda: rsa_jwk(e=None),
            lambda: rsa_jwk(n=7),
            lambda: rsa_jwk(n="***"),
            lambda: rsa_jwk(n=""),
            lambda: rsa_jwk(e="AQ"),
        ],
    )
    def test_a_bad_key_spoils_the_set(self, make: Callable[[], object]) -> None:
        """Each key is a public RS256 signing key of 2048 bits or more, with a kid of its own."""
        with pytest.raises(InvalidKeySet):
            verifier_of(rsa_jwk(kid="good"), make())

    @pytest.mark.parametrize(
        "key_set", [{}, {"keys": []}, {"keys": {}}, {"keys": None}, [], "keys", None], ids=str
    )
    def test_a_set_without_keys_is_none(self, key_set: Any) -> None:
        """Verifying with no key at all is a mistake at the start, not at the first request."""
        with pytest.raises(InvalidKeySet):
            TokenVerifier.from_jwks(key_set, issuer=ISSUER, audience=AUDIENCE)

    def test_two_keys_with_one_kid_are_refused(self) -> None:
        """Which of them verifies would be chance."""
        one = rsa_jwk()

        with pytest.raises(InvalidKeySet, match="same kid"):
            verifier_of(one, rsa_jwk(kid=one["kid"]))

    def test_a_set_is_bounded(self) -> None:
        """Thirty-three keys are refused before the first is read."""
        with pytest.raises(InvalidKeySet, match="from 1 to 32"):
            verifier_of(*({} for _ in range(33)))

    @given(
        st.sampled_from(["kty", "kid", "use", "key_ops", "alg", "n", "e"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
        ),
    )
    def test_any_member_of_any_type(
        self, signing_key: rsa.RSAPrivateKey, name: str, value: object
    ) -> None:
        """A member of any type is good or raises InvalidKeySet, nothing else."""
        try:
            verifier = verifier_of(jwk(signing_key.public_key()) | {name: value})
        except InvalidKeySet:
            return
        assert isinstance(verifier, TokenVerifier)


def verifier_of(*keys: object) -> TokenVerifier:
    """A verifier for a key set of ``keys``."""
    return TokenVerifier.from_jwks({"keys": list(keys)}, issuer=ISSUER, audience=AUDIENCE)
