"""RSA keys are accepted in all common forms; errors never quote the input."""

import base64
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from hypothesis import given
from hypothesis import strategies as st

from contracts.tokens.keys import UnusableKey, jwk, jwks, private_key, public_key
from tests.support.pems import pem

RFC_7638_MODULUS = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKR"
    "XjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAta"
    "Sqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksI"
    "NHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)

SHORT = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]
ELLIPTIC = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]

_PRIVATE = ("d", "p", "q", "dmp1", "dmq1", "iqmp")

Form = Callable[[bytes, Path], str]


@cache
def openssl(*arguments: str, given: bytes = b"") -> bytes:
    """Return the output of an openssl command, which runs once."""
    done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def private_pem() -> bytes:
    return openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")


@pytest.fixture(scope="module")
def public_pem(private_pem: bytes) -> bytes:
    return openssl("pkey", "-pubout", given=private_pem)


def _path(pem: bytes, folder: Path) -> str:
    file = folder / "key.pem"
    file.write_bytes(pem)
    return str(file)


def _base64_of_der(pem: bytes, _: Path) -> str:
    lines = [line for line in pem.decode().splitlines() if not line.startswith("-----")]
    return "".join(lines)


FORMS: dict[str, Form] = {
    "path": _path,
    "PEM": lambda pem, _: pem.decode(),
    "PEM with Windows line ends": lambda pem, _: pem.decode().replace("\n", "\r\n"),
    "PEM in spaces": lambda pem, _: f"\n  {pem.decode()} \n",
    "one line": lambda pem, _: pem.decode().replace("\n", "\\n"),
    "one line in quotes": lambda pem, _: '"' + pem.decode().replace("\n", "\\n") + '"',
    "one line from Windows": lambda pem, _: pem.decode().replace("\n", "\\r\\n"),
    # awk 'NF {sub(/\r/, ""); printf "%s\\n\n", $0;}' writes both kinds of line breaks
    "one line and line breaks": lambda pem, _: pem.decode().replace("\n", "\\n\n"),
    "one line and line breaks, in quotes": lambda pem, _: (
        '"' + pem.decode().replace("\n", "\\n\r\n") + '"\n'
    ),
    "one line, escaped twice": lambda pem, _: pem.decode().replace("\n", "\\\\n"),
    "blanks for line breaks": lambda pem, _: pem.decode().replace("\n", " "),
    "indented": lambda pem, _: pem.decode().replace("\n", "\n      "),
    "blanks at the ends of lines": lambda pem, _: pem.decode().replace("\n", " \t\n\n"),
    "after a byte order mark": lambda pem, _: "\ufeff" + pem.decode(),
    "path in quotes and blanks": lambda pem, folder: f' "{_path(pem, folder)}" \r\n',
    "file as an editor leaves it": lambda pem, folder: _path(
        b"\xef\xbb\xbf\r\n  " + pem.replace(b"\n", b" \r\n") + b"\r\n", folder
    ),
    "file with one line": lambda pem, folder: _path(pem.replace(b"\n", b"\\n\n"), folder),
    "file with base64": lambda pem, folder: _path(base64.encodebytes(pem), folder),
    "base64 of PEM": lambda pem, _: base64.b64encode(pem).decode(),
    "base64 of PEM, wrapped": lambda pem, _: base64.encodebytes(pem).decode(),
    "base64 of DER": _base64_of_der,
}


class TestForms:
    """A path, PEM, the one-line PEM of a .env file, base64 of PEM or DER."""

    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
    def test_a_private_key_is_accepted_in_every_form(
        self, form: Form, private_pem: bytes, tmp_path: Path
    ) -> None:
        modulus = openssl("rsa", "-noout", "-modulus", given=private_pem)
        key = private_key(form(private_pem, tmp_path))
        numbers = key.private_numbers().public_numbers
        assert modulus.decode().strip() == f"Modulus={numbers.n:X}"

    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
    def test_a_public_key_is_accepted_in_every_form(
        self, form: Form, private_pem: bytes, public_pem: bytes, tmp_path: Path
    ) -> None:
        key = public_key(form(public_pem, tmp_path))
        assert key == private_key(private_pem.decode()).public_key()

    def test_the_traditional_form_and_a_file_of_der_are_accepted(
        self, private_pem: bytes, tmp_path: Path
    ) -> None:
        """Older tools write PKCS #1 ("RSA PRIVATE KEY")."""
        traditional = openssl("rsa", "-traditional", given=private_pem).decode()
        assert "BEGIN RSA PRIVATE KEY" in traditional
        der = _path(openssl("pkey", "-outform", "DER", given=private_pem), tmp_path)
        for form in (traditional, der):
            key = private_key(form)
            assert key.private_numbers() == private_key(private_pem.decode()).private_numbers()


class TestRefusals:
    """Invalid input raises ``UnusableKey`` with a message that never repeats it."""

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (SHORT, "1024 bits"),
            (ELLIPTIC, "not an RSA key"),
            (["genpkey", "-algorithm", "ED25519"], "not an RSA key"),
            (["genrsa", "-aes256", "-passout", "pass:secret", "2048"], "unencrypted"),
        ],
        ids=["short", "EC", "Ed25519", "encrypted"],
    )
    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
    def test_another_kind_of_private_key_is_refused(
        self, form: Form, arguments: list[str], sentence: str, tmp_path: Path
    ) -> None:
        """Tokens need an unencrypted RSA key of at least 2048 bits."""
        pem = openssl(*arguments)
        message = refusal(private_key, form(pem, tmp_path))
        assert sentence in message
        assert_not_quoted(pem, message)

    def test_another_type_of_public_key_is_refused(self) -> None:
        for key, sentence in ((SHORT, "1024 bits"), (ELLIPTIC, "not an RSA key")):
            pem = openssl("pkey", "-pubout", given=openssl(*key))
            message = refusal(public_key, pem.decode())
            assert sentence in message, key
            assert_not_quoted(pem, message)

    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
    def test_a_private_key_is_refused_as_a_public_key(
        self, form: Form, private_pem: bytes, tmp_path: Path
    ) -> None:
        """A verifier must not hold the signing key; the message says so where the form shows it."""
        message = refusal(public_key, form(private_pem, tmp_path))
        assert form is _base64_of_der or "it is a private key" in message
        assert_not_quoted(private_pem, message)

    def test_a_public_key_is_refused_as_a_private_key(self, public_pem: bytes) -> None:
        assert "it is a public key" in refusal(private_key, public_pem.decode())

    def test_a_truncated_key_is_not_quoted(self, private_pem: bytes) -> None:
        """Half a private key is still a secret."""
        broken = private_pem.decode()[:800]
        assert_not_quoted(private_pem, refusal(private_key, broken))

    @pytest.mark.parametrize("read", [private_key, public_key])
    def test_text_that_is_not_a_key_is_refused(self, read: Callable[[str], Any]) -> None:
        for text in (
            *("", " ", "hunter2 hunter2", "/no/such/hunter2.pem", "~nobody/hunter2", "schlüssel"),
        ):
            message = refusal(read, text)
            assert "hunter2" not in message, text

    @pytest.mark.parametrize("form", ["PEM", "path", "base64 of PEM", "base64 of DER"])
    def test_a_private_key_above_the_size_limit_is_refused_at_once(
        self, form: str, tmp_path: Path
    ) -> None:
        """Checking one of 16,384 bits would take a minute."""
        prime = 2**8192 - 1
        numbers = RSAPublicNumbers(65537, prime * prime)
        private = rsa.RSAPrivateNumbers(prime, prime, 3, 3, 3, 3, numbers)
        pem = _sequence_pem(private)

        began = time.thread_time()
        message = refusal(private_key, FORMS[form](pem, tmp_path))

        assert "16384 bits" in message
        assert "8192" in message
        assert time.thread_time() - began < 1

    def test_a_public_key_above_the_size_limit_is_refused(self) -> None:
        """Verifying a signature with it would take too long."""
        key = RSAPublicNumbers(65537, 2**16384 - 1).public_key()
        assert "16384 bits" in refusal(public_key, pem(key))

    @pytest.mark.parametrize("read", [private_key, public_key])
    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("-----BEGIN PUBLIC KEY-----".encode("utf-16"), "UTF-16"),
            (b"A" * 10_000_000, "bytes"),
            (None, "not a file's path"),
        ],
        ids=["UTF-16", "large", "folder"],
    )
    def test_another_file_is_refused_with_the_reason(
        self, read: Callable[[str], Any], content: bytes | None, sentence: str, tmp_path: Path
    ) -> None:
        """Windows shells write UTF-16; of a large file only the allowed size is read."""
        path = str(tmp_path) if content is None else _path(content, tmp_path)
        assert sentence in refusal(read, path)

    def test_a_private_key_after_the_public_one_is_detected(
        self, private_pem: bytes, public_pem: bytes, tmp_path: Path
    ) -> None:
        """Anywhere in the file of a verifier."""
        path = _path(public_pem + b"\n" + private_pem, tmp_path)
        assert "private key" in refusal(public_key, path)

    @given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
    def test_arbitrary_text_raises_only_unusable_key(self, text: str) -> None:
        assert refusal(private_key, text)
        assert refusal(public_key, text)


class TestJwk:
    """The public key as a JWK."""

    def test_the_kid_is_the_rfc_7638_thumbprint(self) -> None:
        """Checked with the example in section 3.1."""
        modulus = int.from_bytes(base64.urlsafe_b64decode(RFC_7638_MODULUS + "=="), "big")
        key = RSAPublicNumbers(65537, modulus).public_key()
        shown = jwk(key)
        assert shown["kid"] == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        assert (shown["n"], shown["e"]) == (RFC_7638_MODULUS, "AQAB")

    def test_a_jwk_names_its_purpose_and_has_no_private_member(self, private_pem: bytes) -> None:
        key = private_key(private_pem.decode()).public_key()
        [shown] = jwks(key)["keys"]
        assert shown.keys() == {"kty", "n", "e", "kid", "use", "alg", "key_ops"}
        assert (shown["kty"], shown["use"], shown["alg"]) == ("RSA", "sig", "RS256")
        assert shown["key_ops"] == ["verify"]


def _sequence_pem(numbers: rsa.RSAPrivateNumbers) -> bytes:
    """Encode a key in PKCS #1 by hand, because the library refuses inconsistent numbers."""
    public = numbers.public_numbers
    integers = [0, public.n, public.e, *(getattr(numbers, name) for name in _PRIVATE)]
    body = b"".join(_der(2, number.to_bytes(number.bit_length() // 8 + 1)) for number in integers)
    lines = base64.encodebytes(_der(0x30, body)).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}-----END RSA PRIVATE KEY-----\n".encode()


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 128 + len(octets)]) + octets + content


def refusal(read: Callable[[str], Any], text: str) -> str:
    with pytest.raises(UnusableKey) as caught:
        read(text)
    return str(caught.value)


def assert_not_quoted(pem: bytes, message: str) -> None:
    """Check that no part of the key is in the message."""
    encoded = "".join(line for line in pem.decode().splitlines() if "-----" not in line)
    pieces = {encoded[start : start + 8] for start in range(len(encoded) - 8)}
    assert not any(piece in message for piece in pieces)
