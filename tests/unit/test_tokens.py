"""Access tokens: the verifier accepts what the signer issues and refuses hostile tokens."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt as jose
from joserfc.jwk import RSAKey

from auth_service.tokens.sign import TokenSigner
from auth_service.users.model import User
from contracts.tokens import LEEWAY_SECONDS, AccessToken, InvalidToken, TokenVerifier
from contracts.tokens.keys import jwk, jwks
from contracts.tokens.verifier import LIFETIME_SECONDS_MAX, TOKEN_BYTES_MAX
from tests.support.builders import NOON
from tests.support.refusals import refusal
from tests.support.tables import one_by_one

ISSUER = "https://auth.example"
AUDIENCE = "blog"
USER_ID = "7f9c24e8-3b12-4fef-91e0-56a2d5a1c3b4"
SESSION_ID = "0b9d3f9a-58c5-4c8e-9a36-9a1f5c0f7a06"
NOW = 1_767_268_800
MOMENT = datetime.fromtimestamp(NOW, UTC)

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))


class Tokens:
    """A signing key, and a verifier that knows its public half."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        keys = jwks(key.public_key())
        self.key = key
        self.header: Json = {"alg": "RS256", "typ": "at+jwt", "kid": keys["keys"][0]["kid"]}
        self.verifier = TokenVerifier.from_jwks(keys, issuer=ISSUER, audience=AUDIENCE)

    def sign(self, payload: bytes | Json, header: bytes | Json | None = None) -> str:
        """Return a token of any payload and header with a valid signature."""
        return signed(self.key, self.header if header is None else header, payload)

    def message(self, **header: Any) -> str:
        """Return the header and claims of a valid token, to be signed in another way."""
        parts = (self.header | header, claims())
        return ".".join(b64(json.dumps(part).encode()) for part in parts)

    def accept(self, token: str) -> AccessToken:
        return self.verifier.verify(token)

    def refusal(self, token: str) -> str:
        return reason(self.verifier, token)


@pytest.fixture(scope="module")
def tokens(signing_key: rsa.RSAPrivateKey) -> Tokens:
    return Tokens(signing_key)


def claims(**changes: Any) -> Json:
    """Return the claims of a valid token; None removes one."""
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
    good = {"sub": "svc_feed", "client_id": "svc_feed", "scope": "posts:write"}
    return claims(**(good | changes))


def user(**changes: Any) -> User:
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
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(key: rsa.RSAPrivateKey, header: bytes | Json, payload: bytes | Json) -> str:
    """Return a compact JWS of any header and payload with a valid RS256 signature."""
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)
    ]
    message = ".".join(map(b64, parts))
    signature = key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{message}.{b64(signature)}"


def compact(key: rsa.RSAPrivateKey, header: str, payload: str) -> str:
    message = f"{header}.{payload}"
    return f"{message}.{b64(key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def respelled(segment: str) -> list[str]:
    """Return other spellings that lenient decoders read as the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    pad = "=" * (-len(segment) % 4)
    same = base64.urlsafe_b64decode(segment + pad)
    return [
        other
        for last in alphabet
        if (other := segment[:-1] + last) != segment
        and base64.urlsafe_b64decode(other + pad) == same
    ]


def _unnamed_parameters(digest: bytes) -> bytes:
    """Return a padded block whose hash lacks the NULL parameters that PKCS #1 requires."""
    named = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest
    return b"\0\1" + b"\xff" * (253 - len(named)) + b"\0" + named


def reason(verifier: TokenVerifier, token: str) -> str:
    """Return why ``token`` is refused; the message is always the same."""
    refused = refusal(InvalidToken, verifier.verify, token)
    assert str(refused) == "the access token is invalid or has expired"
    return refused.reason


class TestAccepted:
    """Tokens of our signer, and of another implementation."""

    @pytest.fixture
    def signer(self, signing_key: rsa.RSAPrivateKey) -> TokenSigner:
        """Return a signer with a lifetime of 15 minutes for users and 10 for services."""
        return TokenSigner(
            signing_key, issuer=ISSUER, audience=AUDIENCE, user_seconds=900, service_seconds=600
        )

    def test_a_users_token_has_user_roles_and_session(
        self, tokens: Tokens, signer: TokenSigner
    ) -> None:
        ada, session = user(), uuid4()

        token = tokens.accept(signer.for_user(ada, session, at=MOMENT, authenticated_at=MOMENT))

        assert token.user_id == ada.id
        assert token.roles == {"admin", "moderator"}
        assert token.scopes == frozenset()
        assert token.user_version == ada.version
        assert (token.issued_at, token.expires_at) == (NOW, NOW + 900)
        assert (token.issuer, token.audience) == (ISSUER, AUDIENCE)
        assert (token.session_id, token.key_id) == (session, tokens.header["kid"])
        assert token.authenticated_at == NOW

    def test_a_password_given_in_the_future_counts_as_given_long_ago(
        self, tokens: Tokens, signer: TokenSigner
    ) -> None:
        """The clock was set back since; verifiers would refuse the token."""
        later = MOMENT + timedelta(seconds=1)
        token = tokens.accept(signer.for_user(user(), uuid4(), at=MOMENT, authenticated_at=later))
        assert token.authenticated_at == 0

    def test_a_service_token_has_scopes_and_nothing_of_a_user(
        self, tokens: Tokens, signer: TokenSigner
    ) -> None:
        token = tokens.accept(signer.for_service("svc_feed", ["posts:write", "a"]))
        assert token.user_id is None
        assert token.subject == token.client_id == "svc_feed"
        assert token.scopes == {"a", "posts:write"}
        assert token.expires_at == NOW + 600
        assert (token.roles, token.session_id, token.user_version) == (frozenset(), None, None)

    def test_each_token_has_its_own_id(self, tokens: Tokens, signer: TokenSigner) -> None:
        ada = user()
        one, other = (
            tokens.accept(signer.for_user(ada, uuid4(), at=MOMENT, authenticated_at=MOMENT))
            for _ in range(2)
        )
        assert one.jti != other.jti

    def test_iat_is_never_before_tokens_valid_after(
        self, tokens: Tokens, signer: TokenSigner
    ) -> None:
        """A sign-in right after a cut-off gets a token that is valid; an old one does not count."""
        for valid_after, issued_at in ((NOW + 1, NOW + 1), (NOW - 10_000, NOW)):
            ada = user(tokens_valid_after=datetime.fromtimestamp(valid_after, UTC))
            token = tokens.accept(signer.for_user(ada, uuid4(), at=MOMENT, authenticated_at=MOMENT))
            assert (token.issued_at, token.expires_at) == (issued_at, issued_at + 900)

    def test_another_implementation_verifies_our_tokens(
        self, tokens: Tokens, signer: TokenSigner
    ) -> None:
        """It is joserfc, with the key from our JWK Set."""
        key = RSAKey.import_key(jwk(tokens.key.public_key()))
        token = jose.decode(
            signer.for_user(user(), uuid4(), at=MOMENT, authenticated_at=MOMENT),
            key,
            algorithms=["RS256"],
        )
        assert token.claims["iss"] == ISSUER

    def test_tokens_of_another_implementation_are_accepted(
        self, tokens: Tokens, private_pem: str
    ) -> None:
        token = jose.encode(tokens.header, claims(), RSAKey.import_key(private_pem))
        assert str(tokens.accept(token).user_id) == USER_ID

    @pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
    def test_every_spelling_of_the_type_is_accepted(self, tokens: Tokens, typ: str) -> None:
        """RFC 7515 ignores case, and ``application/`` is optional."""
        assert tokens.accept(tokens.sign(claims(), tokens.header | {"typ": typ}))

    def test_claims_at_the_limits_are_accepted(self, tokens: Tokens) -> None:
        """Limits are inclusive, clocks may differ by the leeway, and unknown claims are ignored."""
        for payload in (
            claims(iat=NOW - 60, exp=NOW - LEEWAY_SECONDS + 1),
            claims(iat=NOW + LEEWAY_SECONDS, exp=NOW + 900),
            claims(nbf=NOW + LEEWAY_SECONDS),
            claims(exp=NOW + LIFETIME_SECONDS_MAX),
            claims(roles=[], scope="a b:c", sid=SESSION_ID, user_version=0, auth_time=NOW - 9),
            claims(auth_time=NOW + LEEWAY_SECONDS),
            claims(tomorrow={"unknown": 1}),
            service(),
        ):
            assert tokens.accept(tokens.sign(payload)), payload

    def test_each_of_several_keys_verifies_its_own_tokens(self) -> None:
        """During a rotation two keys are in use."""
        keys = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]
        shown = [jwk(key.public_key()) for key in keys]
        verifier = TokenVerifier.from_jwks({"keys": shown}, issuer=ISSUER, audience=AUDIENCE)

        for key, other, public in zip(keys, reversed(keys), shown, strict=True):
            header = {"alg": "RS256", "typ": "at+jwt", "kid": public["kid"]}
            assert verifier.verify(signed(key, header, claims()))
            assert reason(verifier, signed(other, header, claims()))


BAD_HEADERS: list[tuple[str, list[Any]]] = [
    ("alg", [None, "none", "NoNe", "rs256", "PS256", ["RS256"], 7]),
    ("typ", [None, "JWT", "logout+jwt", ["at+jwt"], "at+jwt ", "at+jwt;v=1"]),
    ("kid", [None, "", "unknown", "../../../../dev/null", "' OR 1=1 --", 1, ["x"], "k" * 129]),
    ("typ", ["application/application/at+jwt"]),
    ("kid", ["a b", "a\n", "a\x00", "\ud800"]),
    # No other member is allowed.
    *(("jku", ["https://evil.example/jwks.json"]), ("x5u", ["https://evil.example/cert.pem"])),
    *(("x5c", [["MIIB"]]), ("x5t", ["AAAA"]), ("jwk", [{"kty": "RSA"}]), ("crit", [["b64"], []])),
    *(("b64", [False]), ("cty", ["JWT"]), ("zip", ["DEF"]), ("iss", [ISSUER])),
]
"""Values that a header may not have; None is a missing one."""

LATE = NOW + LEEWAY_SECONDS + 1
BAD_CLAIMS: list[tuple[str, list[Any]]] = [
    ("iss", ["", "https://evil.example", f"{ISSUER}/", [ISSUER]]),
    ("aud", ["", "shop", "blogs", [AUDIENCE], ["shop", AUDIENCE]]),
    ("sub", ["", 7, "ada@example.org", f"{{{USER_ID}}}", f"{USER_ID}\x00"]),
    ("sub", [USER_ID.upper(), USER_ID.replace("-", "")]),
    ("client_id", ["", "svc_feed", ["first_party"], "first_party\n"]),
    ("exp", [str(NOW + 900), NOW + 900.5, NOW + 900.0, True, -1, 2**53, 10**30, 10**400]),
    ("exp", [NOW, NOW + LIFETIME_SECONDS_MAX + 1, NOW + 10 * 365 * 86_400]),
    ("iat", [str(NOW), float(NOW), -1, LATE]),
    ("nbf", [str(NOW), None, LATE]),
    ("jti", ["", 1, "x" * 513, "\ud800", "a\x00b"]),
    ("scope", [None, "", ["posts:write"], "a  b", 'a"b', "a\n"]),
    ("roles", [None, "admin", [1], [True], [""], ["admin\n"], ["r"] * 65]),
    ("sid", [None, 1, "s", SESSION_ID.upper(), f"urn:uuid:{SESSION_ID}"]),
    ("auth_time", [str(NOW), LATE]),
    ("user_version", [None, "7", True, -1, 2**53]),
    ("cnf", [{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}]),
]
"""Values that a claim may not have; None is JSON's null."""

BAD_COMBINATIONS: dict[str, Json] = {
    **{f"without {name}": claims(**{name: None}) for name in claims()},
    "a service at a user": service(client_id="first_party"),
    "one service as another": service(client_id="svc_other"),
    "a service by its first letters": claims(sub="svc", client_id="svc"),
    "a service with roles": service(roles=["admin"]),
    "a service in a session": service(sid=SESSION_ID),
    "a service with a version": service(user_version=7),
    "a service without a name": service(sub="svc_", client_id="svc_"),
    "a service with a blank": service(sub="svc_a b", client_id="svc_a b"),
    "a service as path": service(sub="svc_../x", client_id="svc_../x"),
    "long, though old": claims(iat=NOW - LIFETIME_SECONDS_MAX, exp=NOW + 1),
    "turned round": claims(iat=NOW + 3, exp=NOW + 2),
    "expired": claims(iat=NOW - 900, exp=NOW - 60),
    "expired at the leeway": claims(iat=NOW - 900, exp=NOW - LEEWAY_SECONDS),
}


CLAIMS = json.dumps(claims()).encode()
EXP = str(NOW + 900).encode()
NOT_STRICT_JSON = {
    "UTF-16": json.dumps(claims()).encode("utf-16"),
    "byte order mark": json.dumps(claims()).encode("utf-8-sig"),
    "no UTF-8": CLAIMS.replace(b"first_party", b"\xff\xfe"),
    "a name twice": CLAIMS[:-1] + b', "sub": "svc_admin"}',
    "NaN in addition": CLAIMS[:-1] + b', "x": NaN}',
    "NaN": CLAIMS.replace(EXP, b"NaN"),
    "Infinity": CLAIMS.replace(EXP, b"Infinity"),
    "digits": CLAIMS.replace(EXP, b"9" * 5_000),
    "more": CLAIMS + b"{}",
    "list": json.dumps([claims()]).encode(),
    "deep": b"[" * 5_000,
    "null": b"null",
    "empty": b"",
}


class TestRefused:
    """Hostile tokens, signed with the right key unless a test says otherwise."""

    @pytest.mark.parametrize(("name", "value"), one_by_one(BAD_HEADERS))
    def test_a_hostile_header_is_refused(self, tokens: Tokens, name: str, value: Any) -> None:
        """A header has exactly alg, typ and kid, with one valid value each."""
        changed = tokens.header | {name: value}
        if value is None:
            del changed[name]
        assert tokens.refusal(tokens.sign(claims(), changed))

    @pytest.mark.parametrize(("name", "value"), one_by_one(BAD_CLAIMS))
    def test_a_hostile_claim_is_refused(self, tokens: Tokens, name: str, value: Any) -> None:
        """All claims of RFC 9068 are required, typed and bounded."""
        assert tokens.refusal(tokens.sign(claims() | {name: value}))

    @pytest.mark.parametrize("payload", BAD_COMBINATIONS.values(), ids=BAD_COMBINATIONS)
    def test_hostile_claims_are_refused(self, tokens: Tokens, payload: Json) -> None:
        """Users and services never mix."""
        assert tokens.refusal(tokens.sign(payload))

    @pytest.mark.parametrize("payload", NOT_STRICT_JSON.values(), ids=NOT_STRICT_JSON.keys())
    def test_a_payload_that_is_not_strict_json_is_refused(
        self, tokens: Tokens, payload: bytes
    ) -> None:
        """It must be a UTF-8 object without duplicate members and without NaN or Infinity."""
        assert tokens.refusal(tokens.sign(payload))
        twice = json.dumps(tokens.header).encode()[:-1] + b', "alg": "RS256"}'
        assert tokens.refusal(tokens.sign(claims(), twice))

    def test_another_form_is_refused(self, tokens: Tokens) -> None:
        """A token is three unpadded base64url segments, with nothing around them."""
        token = tokens.sign(claims())
        message = token.rpartition(".")[0]
        others = [f"{token}{after}" for after in ("=", "==", "\n", ".", ".x", "\x00")]
        others += [f" {token}", f".{token}", json.dumps({"token": token})]
        others += [message, f"{message}.", f"{message}.AA"]
        others += [token.replace(".", dot, 1) for dot in ("=.", "..", "é", ".\ud800")]
        for other in (*others, "", "..", "a.b.c", "svc_live_key_0123456789abcdef"):
            assert tokens.refusal(other), ascii(other)

    def test_a_value_that_is_not_text_is_refused(self, tokens: Tokens) -> None:
        """With the same error as any invalid token, even if it is a token as bytes."""
        as_bytes = tokens.sign(claims()).encode()
        wrong: list[Any] = [None, as_bytes, 7, 1.5, True, [], ["a.b.c"], {"a": 1}, object]
        for token in (*wrong, "\ud800.\udfff.x"):
            assert tokens.refusal(token)

    @pytest.mark.parametrize("place", [0, 1, 2], ids=["header", "payload", "signature"])
    def test_unused_bits_must_be_zero(self, tokens: Tokens, place: int) -> None:
        """Otherwise one token would have several spellings."""
        # Blanks after the JSON produce each length that leaves unused bits.
        tried = 0
        for blanks in range(3):
            space = b" " * blanks
            parts = [b64(json.dumps(part).encode() + space) for part in (tokens.header, claims())]
            good = compact(tokens.key, *parts)
            whole = good.split(".")[place]
            for other in respelled(whole):
                if place < 2:  # signed with this spelling, the only defect
                    bad = compact(tokens.key, *[*parts[:place], other, *parts[place + 1 :]])
                else:
                    bad = f"{good.rpartition('.')[0]}.{other}"

                assert tokens.accept(good)
                assert "is not base64url" in tokens.refusal(bad)
                tried += 1
        assert tried >= 15

    def test_a_signature_of_another_length_or_value_is_refused(self, tokens: Tokens) -> None:
        """Such as with zeros before or after it, or with the modulus added."""
        message, _, last = tokens.sign(claims()).rpartition(".")
        signature = base64.urlsafe_b64decode(last + "==")
        modulus = tokens.key.public_key().public_numbers().n
        number = int.from_bytes(signature, "big")
        others = [
            b"\0" + signature,
            signature + b"\0",
            signature[1:],
            (number + modulus).to_bytes(257, "big"),
            ((number + modulus) % 2**2048).to_bytes(256, "big"),
            bytes(256),
            b"\0" * 255 + b"\1",
            b"\xff" * 256,
        ]

        for other in others:
            assert "signature" in tokens.refusal(f"{message}.{b64(other)}")

    def test_another_signature_scheme_is_refused(self, tokens: Tokens) -> None:
        """The key is right and the header says RS256."""
        message = tokens.message()
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        signatures = [
            tokens.key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA1()),
            tokens.key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA384()),
            tokens.key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA512()),
            tokens.key.sign(message.encode(), pss, hashes.SHA256()),
        ]
        for signature in signatures:
            assert "does not match" in tokens.refusal(f"{message}.{b64(signature)}")

    def test_defective_padding_is_refused(self, tokens: Tokens) -> None:
        """Lenient verifiers accept signatures that anyone can forge (CVE-2006-4339)."""
        message = tokens.message()
        digest = hashlib.sha256(message.encode()).digest()
        named = bytes.fromhex("3031300d060960864801650304020105000420") + digest
        good = b"\0\1" + b"\xff" * (253 - len(named)) + b"\0" + named
        defects = {
            "no separator": b"\0\1" + b"\xff" * (254 - len(named)) + named,
            "other first byte": b"\1" + good[1:],
            "other block type": b"\0\2" + good[2:],
            "short filler": b"\0\1" + b"\xff" * 8 + b"\0" + named + bytes(245 - len(named)),
            "no parameters": _unnamed_parameters(digest),
            "hash alone": b"\0\1" + b"\xff" * (253 - len(digest)) + b"\0" + digest,
            "garbage after": b"\0\1" + b"\xff" * 100 + b"\0" + named + b"x" * (153 - len(named)),
        }
        numbers = tokens.key.private_numbers()

        def forged(block: bytes) -> str:
            number = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n)
            return f"{message}.{b64(number.to_bytes(256, 'big'))}"

        assert tokens.accept(forged(good))
        for defect, block in defects.items():
            assert "does not match" in tokens.refusal(forged(block)), defect

    def test_a_token_above_8_kib_is_refused(self, tokens: Tokens) -> None:
        """At once, before it is parsed; a token just below the limit is accepted."""
        room = TOKEN_BYTES_MAX - len(tokens.sign(claims(pad="")))
        large = [tokens.sign(claims(pad="x" * (room * 3 // 4 + d))) for d in (-8, 8)]

        assert len(large[0]) <= TOKEN_BYTES_MAX < len(large[1])
        assert tokens.accept(large[0])
        assert "bounded size" in tokens.refusal(large[1])
        huge = "a" * 10_000_000 + ".b.c"
        began = time.thread_time()
        assert "bounded size" in tokens.refusal(huge)
        assert time.thread_time() - began < 0.005

    @pytest.mark.parametrize("alg", ["HS256", "RS256"])
    def test_the_public_key_as_hmac_secret_is_refused(
        self, tokens: Tokens, public_pem: str, alg: str
    ) -> None:
        """Everybody knows it (CVE-2015-9235); the key decides which algorithm is used."""
        message = tokens.message(alg=alg)
        mac = hmac.new(public_pem.encode(), message.encode(), hashlib.sha256).digest()
        assert tokens.refusal(f"{message}.{b64(mac)}")

    @pytest.mark.parametrize("segment", [0, 1])
    def test_a_changed_header_or_payload_is_refused(self, tokens: Tokens, segment: int) -> None:
        parts = tokens.sign(claims()).split(".")
        whole = parts[segment]
        for place, character in enumerate(whole):
            other = "A" if character != "A" else "B"
            parts[segment] = whole[:place] + other + whole[place + 1 :]
            assert tokens.refusal(".".join(parts))

    @given(st.text() | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]+", fullmatch=True))
    def test_arbitrary_text_is_refused(self, tokens: Tokens, text: str) -> None:
        assert tokens.refusal(text)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
        ),
        st.sampled_from(
            [*sorted(claims()), "nbf", "scope", "roles", "sid", "auth_time", "user_version"]
        ),
    )
    def test_a_claim_of_any_type_is_accepted_or_refused(
        self, tokens: Tokens, value: object, name: str
    ) -> None:
        try:
            token = tokens.accept(tokens.sign(claims() | {name: value}))
        except InvalidToken:
            return
        assert token.subject == USER_ID
