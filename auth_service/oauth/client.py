"""Authenticate a service by HTTP Basic with its id and an API key (RFC 6749 2.3.1).

Guarantees: an API key is accepted only in the ``Authorization`` header, never in a URL or a form,
which end up in logs. Two credentials at once are refused. A request with a valid key spends from
the service's own limit, which nobody else can use up; one with a wrong key from its network's.
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
from auth_service.throttle.network import network_charges
from auth_service.tokens.sign import FIRST_PARTY_CLIENT
from service_kit.http.networks import Network
from service_kit.process.rates import Rate

BASIC_LENGTH_MAX: Final = 512
"""An id and a key take 120 characters, or three times as many if each is percent-encoded."""

FORM_CREDENTIALS: Final = ("client_secret", "client_assertion", "client_assertion_type")
"""Parameters of other authentication methods, which are not supported."""

SCHEME: Final = "apiKey"


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """The credentials of the request, not verified yet."""

    service_id: str
    api_key: str = field(repr=False)


class _Basic(SecurityBase):
    """Reads the header, and describes it in the OpenAPI document."""

    def __init__(self) -> None:
        self.scheme_name = SCHEME
        self.model = HTTPBase(
            scheme="basic", description="The id of a service account, and one of its API keys"
        )

    async def __call__(self, request: Request) -> BasicCredentials | None:
        sent = request.headers.getlist("authorization")
        if len(sent) > 1:
            raise OAuthError("invalid_request", "send one Authorization header")
        return _parse_basic(sent[0]) if sent else None


SentCredentials = Annotated[BasicCredentials | None, Depends(_Basic())]


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
    """The client of a request, with or without credentials."""

    auth: Context
    network: str
    credentials: BasicCredentials | None
    form: dict[str, str]

    @property
    def key_id(self) -> str:
        """The id of the API key of an authenticated service."""
        key = None if self.credentials is None else ApiKey.parse(self.credentials.api_key)
        if key is None:
            raise invalid_client()
        return key.id

    async def service(
        self, limit: str, rate: Rate | None = None
    ) -> tuple[ServiceAccount, dict[str, str]]:
        """Authenticate the service; return it with the rate-limit headers.

        Parameters:
            limit: the limit's name; each endpoint has its own, so that none uses up another's.
            rate: the service's rate; ``limit_token`` by default, and always for wrong keys.

        Raises:
            OAuthError: the credentials are missing or wrong.
            TooManyRequests: the limit is spent.
        """
        if self.credentials is None:
            raise invalid_client()
        if self._contradicts(self.credentials.service_id):
            raise OAuthError("invalid_request", "use one way of authenticating")
        throttle, failures = self.auth.throttle, self.auth.settings.limit_token
        try:
            service = await authenticate(
                self.auth.engine,
                self.auth.secrets,
                service_id=self.credentials.service_id,
                api_key=self.credentials.api_key,
            )
        except WrongKey:
            await throttle.spend(*network_charges(f"{limit}_failures", self.network, failures))
            raise invalid_client() from None
        return service, await throttle.spend(Charge(limit, service.id, rate or failures))

    def require_first_party(self) -> None:
        """Refuse any client other than the service's own (public) applications.

        Raises:
            OAuthError: the form names another client, or contains a secret.
        """
        if self._contradicts(FIRST_PARTY_CLIENT):
            raise invalid_client()

    def _contradicts(self, client_id: str) -> bool:
        """Whether the form names another client, or contains a client's secret."""
        return self.form.get("client_id", client_id) != client_id or any(
            name in self.form for name in FORM_CREDENTIALS
        )


async def _client(auth: Auth, network: Network, sent: SentCredentials, form: Form) -> Client:
    return Client(auth, network, sent, form)


CurrentClient = Annotated[Client, Depends(_client)]


def _parse_basic(header: str) -> BasicCredentials:
    """Parse an ``Authorization`` header, whose id and key are encoded as in a form."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic" or len(credentials) > BASIC_LENGTH_MAX:
        raise invalid_client()
    try:
        service_id, separator, api_key = b64decode(credentials, validate=True).partition(b":")
        found = BasicCredentials(decoded(service_id), decoded(api_key))
    except (binascii.Error, ValueError):
        raise invalid_client() from None
    if not separator:
        raise invalid_client()
    return found
