"""The public half of the signing key, for whoever verifies our tokens."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from auth_service.context import Auth

router = APIRouter(tags=["tokens"])

MAX_AGE_SECONDS = 300
"""How long a verifier may keep the set; a new key is published that long before it signs."""


@router.get("/.well-known/jwks.json", summary="Public keys, as a JWK Set (RFC 7517)")
async def jwks(auth: Auth) -> JSONResponse:
    """The keys by which access tokens are verified."""
    cache = f"public, max-age={MAX_AGE_SECONDS}, must-revalidate"
    return JSONResponse(auth.jwks, headers={"Cache-Control": cache})
