"""Sign-in over HTTP."""

from fastapi import APIRouter, Response

from auth_service.bodies import Credentials, SignedIn
from auth_service.context import Auth
from auth_service.sessions.sign_in import sign_in

router = APIRouter(prefix="/v1", tags=["sessions"])


@router.post("/signin", summary="Sign in with e-mail and password")
async def post_signin(body: Credentials, auth: Auth, response: Response) -> SignedIn:
    """An access token for the user; one and the same error for every wrong pair."""
    user = await sign_in(
        auth.engine,
        auth.passwords,
        email=body.email,
        password=body.password.get_secret_value(),
    )
    response.headers["Cache-Control"] = "no-store"
    return SignedIn.of(user, auth.signer)
