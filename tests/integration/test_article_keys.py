"""A key pair made by openssl: the private key as one line in ``.env``, the public key elsewhere."""

import subprocess
from pathlib import Path

import pytest

import auth_service.settings
import blog_service.settings
from contracts.encodings import base64url_bytes
from contracts.tokens import TokenVerifier
from contracts.tokens.keys import jwks, public_key
from service_kit.process.load import load
from tests.support.auth_api import bearer, serving
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
    done = subprocess.run(words, capture_output=True, check=True, text=True)
    return done.stdout


async def test_the_pair_works_as_it_stands(folder: Path, auth_url: str) -> None:
    """One service signs; another verifies with the public key alone, as does openssl."""
    shell("openssl", "genrsa", "-out", "private.pem", "2048")
    shell("openssl", "rsa", "-in", "private.pem", "-pubout", "-out", "public.pem")
    private, public = [shell("awk", ONE_LINE, f"{name}.pem") for name in ("private", "public")]
    assert private.startswith("-----BEGIN PRIVATE KEY")
    assert "\n" not in private
    (folder / ".env").write_text(
        f"AUTH_DATABASE_URL={auth_url}\n"
        f"AUTH_ISSUER={SOURCE}\n"
        f'AUTH_PRIVATE_KEY="{private}"\n'
        f"BLOG_DATABASE_URL={auth_url}\n"
        f"BLOG_ISSUER={SOURCE}\n"
        f"BLOG_PUBLIC_KEY={public}\n"
    )

    async with serving(load(auth_service.settings.ApiSettings)) as api:
        ada = await api.sign_up()
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
