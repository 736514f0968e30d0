"""What the auth service publishes about itself: its keys, and its metadata."""

import pytest

from auth_service.services.model import SCOPES
from auth_service.settings import ApiSettings
from local.ports import free_port
from tests.support.auth_api import AuthApi, assert_problem, serving
from tests.support.builders import SOURCE

KEY_SET = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"
CACHED = "public, max-age=300, must-revalidate"


class TestKeySet:
    """``GET /.well-known/jwks.json`` (RFC 7517)."""

    async def test_it_may_be_kept_for_five_minutes_and_has_a_strong_tag(self, api: AuthApi) -> None:
        answer = await api.get(KEY_SET)
        [key] = answer.json()["keys"]
        assert answer.headers["Content-Type"] == "application/jwk-set+json"
        assert answer.headers["Cache-Control"] == CACHED
        assert answer.headers["ETag"].startswith('"')
        assert key.keys() == {"kty", "n", "e", "kid", "use", "alg", "key_ops"}

    async def test_a_cached_set_gets_no_body(self, api: AuthApi) -> None:
        """304 for the tag alone, among others, in its weak form, and for any (RFC 9110 13.1.2)."""
        etag = (await api.get(KEY_SET)).headers["ETag"]

        for sent in (etag, f'"other", {etag}', f"W/{etag}", "*"):
            answer = await api.get(KEY_SET, headers={"If-None-Match": sent})
            assert (answer.status_code, answer.content) == (304, b"")
            assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (etag, CACHED)
        for sent in ('"other"', etag.strip('"'), "", etag[:-2] + '"'):
            answer = await api.get(KEY_SET, headers={"If-None-Match": sent})
            assert answer.status_code == 200

    async def test_without_the_table_no_set_is_served(self, api_settings: ApiSettings) -> None:
        """503: the key of the setting may have been revoked."""
        nowhere = f"postgresql+asyncpg://auth@127.0.0.1:{free_port()}/auth"
        async with serving(api_settings.model_copy(update={"database_url": nowhere})) as api:
            assert_problem(await api.get(KEY_SET), 503, "unavailable")


class TestMetadata:
    """``GET /.well-known/oauth-authorization-server`` (RFC 8414)."""

    async def test_it_names_what_is_offered(self, api: AuthApi) -> None:
        """Each endpoint below the issuer, and no others."""
        answer = await api.get(METADATA)

        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == CACHED
        assert answer.json() == {
            "issuer": SOURCE,
            "token_endpoint": f"{SOURCE}/oauth/token",
            "jwks_uri": f"{SOURCE}/.well-known/jwks.json",
            "revocation_endpoint": f"{SOURCE}/oauth/revoke",
            "introspection_endpoint": f"{SOURCE}/oauth/introspect",
            "grant_types_supported": ["client_credentials", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
            "scopes_supported": list(SCOPES),
            "response_types_supported": [],
        }

    async def test_every_endpoint_that_it_names_is_there(self, api: AuthApi) -> None:
        """A client that follows the URLs never gets 404."""
        metadata = (await api.get(METADATA)).json()
        for name in ("token_endpoint", "revocation_endpoint", "introspection_endpoint"):
            path = metadata[name].removeprefix(SOURCE)
            assert (await api.post(path, data={"token": "x"})).status_code in (200, 400, 401)
        assert (await api.get(metadata["jwks_uri"].removeprefix(SOURCE))).status_code == 200

    async def test_endpoints_are_where_the_service_is_and_not_where_it_was(
        self, api_settings: ApiSettings
    ) -> None:
        """The issuer is a name: another program may listen at its former address."""
        moved = api_settings.model_copy(update={"public_url": "https://new.example/auth"})
        async with serving(moved) as api:
            metadata = (await api.get(METADATA)).json()

        kinds = ("_endpoint", "_uri")
        addresses = [value for name, value in metadata.items() if name.endswith(kinds)]
        assert metadata["issuer"] == SOURCE
        assert len(addresses) == 4
        assert all(address.startswith("https://new.example/auth/") for address in addresses)

    @pytest.mark.parametrize("issuer", ["https://example.org/auth", "https://example.org/auth/"])
    async def test_an_issuers_path_comes_last(self, api_settings: ApiSettings, issuer: str) -> None:
        """The path comes last (RFC 8414 3.1); another issuer's path is not found."""
        async with serving(api_settings.model_copy(update={"issuer": issuer})) as api:
            found = await api.get(f"{METADATA}/auth")
            other = await api.get(f"{METADATA}/other")
        assert found.status_code == 200
        assert found.json()["issuer"] == issuer
        assert found.json()["token_endpoint"] == "https://example.org/auth/oauth/token"
        assert_problem(other, 404, "not_found")

    async def test_an_issuer_without_a_path_has_no_other_address(self, api: AuthApi) -> None:
        """404 for any path."""
        for path in ("/x", "//", "/"):
            assert_problem(await api.get(METADATA + path), 404, "not_found")
