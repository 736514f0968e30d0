"""The blog service answers as its OpenAPI document says."""

from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import rsa

from blog_service.app import create_app
from blog_service.settings import ApiSettings
from tests.support.blog_api import a_token
from tests.support.builders import SOURCE
from tests.support.openapi import assert_conforms


def test_no_answer_is_undocumented_and_none_a_500(
    blog_url: str, public_pem: str, signing_key: rsa.RSAPrivateKey
) -> None:
    """Whoever calls, with whatever the document allows, and with what it does not."""
    app = create_app(
        ApiSettings(_env_file=None, database_url=blog_url, public_key=public_pem, issuer=SOURCE)
    )
    tokens = [a_token(signing_key, uuid4()), a_token(signing_key, "svc_importer"), "rubbish"]

    assert_conforms(app, callers=[{}, *({"Authorization": f"Bearer {t}"} for t in tokens)])
