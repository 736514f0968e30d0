"""The certificate authorities that requests to other servers trust.

Not here: the certificates of our own servers, which a proxy in front has.
"""

import ssl
from functools import cache

import httpx


@cache
def authorities() -> ssl.SSLContext:
    """Return the TLS context for ``verify`` of an HTTP client, without the environment's settings.

    Loading the authorities takes 50 ms, which each ``httpx.AsyncClient`` without it spends again.
    """
    return httpx.create_ssl_context(trust_env=False)
