"""Note the network that a request comes from, so that the mails it causes are charged to it."""

from collections.abc import MutableMapping
from typing import Any

from starlette.requests import HTTPConnection

from auth_service.context import Context
from auth_service.mail.limit import hash_networks
from auth_service.mail.request import request_networks
from service_kit.http.networks import request_network
from service_kit.process.telemetry import Asgi


def note_request_networks(app: Asgi, context: Context) -> Asgi:
    """Middleware (ASGI): note each request's network; no route can forget it."""

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and context.mail is not None:
            client = await request_network(HTTPConnection(scope))
            rate = context.settings.limit_mail_network
            request_networks.set(hash_networks(context.throttle, client, rate))
        await app(scope, receive, send)

    return call
