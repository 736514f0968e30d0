"""The public keys that verify access tokens, over HTTP."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Response, status

from auth_service.context import Auth

router = APIRouter(tags=["tokens"])

MAX_AGE_SECONDS: Final = 300
"""How long a verifier may cache the set. New keys are published for longer before they sign, and a
revocation is an event as well."""

JWK_SET: Final = "application/jwk-set+json"
"""RFC 7517 8.5.2."""

ETAGS_LENGTH_MAX: Final = 1024
"""A client sends one; this has room for a dozen."""

_CACHED: Final = {"Cache-Control": f"public, max-age={MAX_AGE_SECONDS}, must-revalidate"}

_KEY_SET_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The key set",
        "headers": {"ETag": {"schema": {"type": "string"}}},
        "content": {
            JWK_SET: {
                "schema": {
                    "type": "object",
                    "required": ["keys"],
                    "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
                },
                "example": {
                    "keys": [
                        {
                            "kty": "RSA",
                            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4…",
                            "e": "AQAB",
                            "kid": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
                            "use": "sig",
                            "alg": "RS256",
                            "key_ops": ["verify"],
                        }
                    ]
                },
            }
        },
    },
    304: {"description": "The key set still has this entity tag"},
}


@router.get(
    "/.well-known/jwks.json",
    summary="Public keys, as a JWK Set (RFC 7517)",
    response_class=Response,
    responses=_KEY_SET_RESPONSES,
)
async def get_key_set(
    auth: Auth, if_none_match: Annotated[str | None, Header(max_length=ETAGS_LENGTH_MAX)] = None
) -> Response:
    """The keys that verify access tokens, including pending ones."""
    key_set = await auth.keys.key_set()
    headers = {**_CACHED, "ETag": key_set.etag}
    if if_none_match is not None and _matches(if_none_match, key_set.etag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(key_set.body, headers=headers, media_type=JWK_SET)


def _matches(sent: str, etag: str) -> bool:
    """Whether ``If-None-Match`` names ``etag``, by the weak comparison (RFC 9110 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in sent.split(",")}
    return etag in tags or "*" in tags
