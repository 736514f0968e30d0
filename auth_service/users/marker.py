"""The version of a user after a change, for responses without a body.

Clients name it to other services to read what they have just written (``replica.users.at_least``).
Responses that show the user have it in the body, as ``version``.
"""

from typing import Any, Final

HEADER: Final = "User-Version"

CHANGED: Final[dict[int | str, dict[str, Any]]] = {
    204: {
        "headers": {
            HEADER: {
                "description": "The user's version now, for `at_least` at other services.",
                "schema": {"type": "integer"},
            }
        }
    }
}
"""The response in OpenAPI."""


def marker(version: int) -> dict[str, str]:
    """The headers that tell the client ``version``."""
    return {HEADER: str(version)}
