"""The product's name where clients read it: in URNs and in challenges."""

from typing import Final

PRODUCT: Final = "usersync"


def problem_urn(code: str) -> str:
    """The type of a problem (RFC 9457 3.1.1)."""
    return f"urn:{PRODUCT}:problem:{code}"


def request_urn(request_id: str) -> str:
    """The instance of a problem: the request that met it."""
    return f"urn:{PRODUCT}:request:{request_id}"
