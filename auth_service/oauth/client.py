"""Which service calls an OAuth endpoint: HTTP Basic with its id and an API key (RFC 6749 2.3.1).

Guarantees: an API key counts in the ``Authorization`` header alone, never in an address or a form,
which end up in logs; two ways of authenticating at once are refused; who shows a right key spends
from his own limit, so that nobody else can use it up, and who shows a wrong one from that of his
network.
"""

import binascii
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBase
from fastapi.security.base import SecurityBase

from auth_service.context import Auth, Context
from auth_service.oauth.errors import OAuthError, invalid_client
from auth_service.oauth.form import MEDIA_TYPE, BadForm, decoded, read_form
from auth_service.services.authenticate import WrongKey, authenticate
from auth_service.services.model import ApiKey, ServiceAccount
from auth_service.throttle.model import Charge
from auth_service.throttle.network import Network, network_charges
from auth_service.tokens.sign import FIRST_PARTY_CLIENT
from service_kit.process.rates import Rate

BASIC_LENGTH_MAX: Final = 512
"""An id and a key take 120 characters, three times as many if a client encodes each of them."""

IN_THE_FORM: Final = ("client_secret", "client_assertion", "client_assertion_type")
"""Other ways of authenticating, which are not offered."""

SCHEME: Final = "apiKey"


@dataclass(frozen=True, slots=True)
class Shown:
    """What came with the request; not checked yet."""

    service_id: str
    api_key: str = field(repr=False)


class _Basic(SecurityBase):
    """Reads the header, and has the OpenAPI document tell of it."""

    def __init__(self) -> None:
        self.scheme_name = SCHEME
        self.model = HTTPBase(
            scheme="basic", description="The id of a service account, and one of its API keys"
        )

    async def __call__(self, request: Request) -> Shown | None:
        sent = request.headers.getlist("authorization")
        if len(sent) > 1:
            raise OAuthError("invalid_request", "there are two Authorization headers")
        return _shown(sent[0]) if sent else None


ShownKey = Annotated[Shown | None, Depends(_Basic())]


async def _form(request: Request) -> dict[str, str]:
    media_type = request.headers.get("content-type", "").partition(";")[0]
    if media_type.strip().lower() != MEDIA_TYPE:
        raise OAuthError("invalid_request", f"send the parameters as {MEDIA_TYPE}")
    try:
        return read_form(await request.body())
    except BadForm as error:
        raise OAuthError("invalid_request", str(error)) from None


Form = Annotated[dict[str, str], Depends(_form)]
"""The parameters of the request, each at most once."""


@dataclass(frozen=True, slots=True)
class Client:
    """Whoever calls, if he says who he is."""

    auth: Context
    network: str
    shown: Shown | None
    form: dict[str, str]

    @property
    def key_id(self) -> str:
        """Which API key an authenticated service has shown."""
        key = None if self.shown is None else ApiKey.parse(self.shown.api_key)
        if key is None:
            raise invalid_client()
        return key.id

    async def service(
        self, limit: str, rate: Rate | None = None
    ) -> tuple[ServiceAccount, dict[str, str]]:
        """The service that calls, and the headers that tell what is left of its limit.

        Parameters:
            limit: its name; each use of a key has its own, so that none uses up another's.
            rate: what the service may do; ``limit_token`` by default, and always for wrong keys.

        Raises:
            OAuthError: nothing, or nothing right, shows who calls.
            TooManyRequests: the limit is spent.
        """
        if self.shown is None:
            raise invalid_client()
        if self._says_otherwise(self.shown.service_id):
            raise OAuthError("invalid_request", "there are two ways of authenticating")
        throttle, failures = self.auth.throttle, self.auth.settings.limit_token
        try:
            service = await authenticate(
                self.auth.engine,
                self.auth.secrets,
                service_id=self.shown.service_id,
                api_key=self.shown.api_key,
            )
        except WrongKey:
            await throttle.spend(*network_charges(f"{limit}_failures", self.network, failures))
            raise invalid_client() from None
        return service, await throttle.spend(Charge(limit, service.id, rate or failures))

    def require_first_party(self) -> None:
        """Refuse whoever says that he is another client than our own applications (public ones).

        Raises:
            OAuthError: the form names another client, or holds a secret.
        """
        if self._says_otherwise(FIRST_PARTY_CLIENT):
            raise invalid_client()

    def _says_otherwise(self, client_id: str) -> bool:
        """Whether the form names another client, or holds a secret of one."""
        return self.form.get("client_id", client_id) != client_id or any(
            name in self.form for name in IN_THE_FORM
        )


async def _client(auth: Auth, network: Network, shown: ShownKey, form: Form) -> Client:
    return Client(auth, network, shown, form)


CurrentClient = Annotated[Client, Depends(_client)]


def _shown(header: str) -> Shown:
    """Id and key from an ``Authorization`` header, both encoded as in a form."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic" or len(credentials) > BASIC_LENGTH_MAX:
        raise invalid_client()
    try:
        service_id, separator, api_key = b64decode(credentials, validate=True).partition(b":")
        shown = Shown(decoded(service_id), decoded(api_key))
    except (binascii.Error, ValueError):
        raise invalid_client() from None
    if not separator:
        raise invalid_client()
    return shown
