"""A key pair made by openssl: the private key as one line in ``.env``, the public key elsewhere."""

import subprocess
from pathlib import Path

import pytest

import auth_service.settings
import blog_service.settings
from contracts.encodings import base64url_bytes
from contracts.tokens import TokenVerifier
from contracts.tokens.keys import jwks, public_key
from service_kit.process.errors import BadSettings
from service_kit.process.load import load
from tests.support.auth_api import bearer, serving, signed_up
from tests.support.builders import SOURCE

ONE_LINE = r'NF {sub(/\r/, ""); printf "%s\\n",$0;}'
"""The awk program that joins the lines of a PEM file."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of ``.env``; nothing else is set."""
    for name in ("AUTH_DATABASE_URL", "BLOG_DATABASE_URL", "BLOG_AMQP_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(*words: str) -> str:
    """Run a program; return what it prints."""
    done = subprocess.run(words, capture_output=True, check=True, text=True)
    return done.stdout


def one_line(file: str) -> str:
    """A PEM file as one line."""
    return shell("awk", ONE_LINE, file)


@pytest.mark.parametrize(
    ("made_with", "begins_with", "quote"),
    [
        (["genrsa", "-out", "private.pem", "2048"], "-----BEGIN PRIVATE KEY", '"'),
        (["genrsa", "-traditional", "-out", "private.pem", "3072"], "-----BEGIN RSA", "'"),
        (["genpkey", "-algorithm", "RSA", "-out", "private.pem"], "-----BEGIN PRIVATE KEY", ""),
    ],
    ids=["genrsa", "genrsa PKCS1", "genpkey"],
)
async def test_the_pair_works_as_it_stands(
    folder: Path, auth_url: str, made_with: list[str], begins_with: str, quote: str
) -> None:
    """One service signs; another verifies with the public key alone, as does openssl."""
    shell("openssl", *made_with)
    shell("openssl", "rsa", "-in", "private.pem", "-pubout", "-out", "public.pem")
    private, public = one_line("private.pem"), one_line("public.pem")
    assert private.startswith(begins_with)
    assert "\n" not in private
    (folder / ".env").write_text(
        f"AUTH_DATABASE_URL={auth_url}\n"
        f"AUTH_ISSUER={SOURCE}\n"
        f"AUTH_PRIVATE_KEY={quote}{private}{quote}\n"
        f"BLOG_DATABASE_URL={auth_url}\n"
        f"BLOG_ISSUER={SOURCE}\n"
        f"BLOG_PUBLIC_KEY={quote}{public}{quote}\n"
    )

    async with serving(load(auth_service.settings.ApiSettings)) as api:
        ada = await signed_up(api, "ada@example.org")
        assert (await api.get("/v1/me", headers=bearer(ada))).status_code == 200

    blog = load(blog_service.settings.ApiSettings)
    assert blog.public_key is not None
    verifier = TokenVerifier.from_jwks(
        jwks(public_key(blog.public_key)), issuer=blog.issuer, audience=blog.audience
    )
    assert str(verifier.verify(ada["access_token"]).user_id) == ada["user"]["id"]
    signed, _, signature = ada["access_token"].rpartition(".")
    (folder / "signed").write_text(signed)
    (folder / "signature").write_bytes(base64url_bytes(signature))
    words = "dgst -sha256 -verify public.pem -signature signature signed"
    assert shell("openssl", *words.split()).strip() == "Verified OK"


@pytest.mark.parametrize(
    ("made_with", "sentence"),
    [
        (["genrsa", "-aes256", "-passout", "pass:secret", "2048"], "unencrypted"),
        (["ecparam", "-name", "prime256v1", "-genkey", "-noout"], "not an RSA key"),
        (["genrsa", "1024"], "1024 bits"),
        (["genrsa", "-3", "2048"], "exponent"),
    ],
    ids=["encrypted", "EC", "short", "exponent 3"],
)
def test_another_key_stops_the_start(folder: Path, made_with: list[str], sentence: str) -> None:
    """The error names the setting and the reason, and contains nothing of the key."""
    (folder / "key.pem").write_text(shell("openssl", *made_with))

    message = refusal_of(one_line("key.pem"), folder)

    assert sentence in message
    assert "secret" not in message


def test_the_public_half_stops_the_start(folder: Path) -> None:
    """It is the wrong file of the two."""
    shell("openssl", "genrsa", "-out", "private.pem", "2048")
    shell("openssl", "rsa", "-in", "private.pem", "-pubout", "-out", "public.pem")

    assert "it is a public key" in refusal_of(one_line("public.pem"), folder)


def refusal_of(key: str, folder: Path) -> str:
    """The error with which the API's start ends for that key."""
    (folder / ".env").write_text(
        "AUTH_DATABASE_URL=postgresql://auth@db.example/auth\n"
        f"AUTH_ISSUER={SOURCE}\n"
        f'AUTH_PRIVATE_KEY="{key}"\n'
    )
    with pytest.raises(BadSettings) as caught:
        load(auth_service.settings.ApiSettings)
    [line] = str(caught.value).splitlines()
    assert line.startswith("AUTH_PRIVATE_KEY: is not usable: ")
    return line
