"""Note the network that a request comes from, so that the mails it causes are charged to it."""

from auth_service.context import Auth
from auth_service.mail.limit import hash_networks
from auth_service.mail.request import request_networks
from auth_service.throttle.network import Network


async def note_request_networks(auth: Auth, network: Network) -> None:
    """Note the request's network; a dependency of every route, so that none can forget it."""
    if auth.mail is not None:
        request_networks.set(
            hash_networks(auth.throttle, network, auth.settings.limit_mail_network)
        )
