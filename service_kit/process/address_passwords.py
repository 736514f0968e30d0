"""Put a password from a setting of its own into an address that has none. Pure.

So an address can be read by anyone, and only the password comes from a file; it may have any
characters there.
"""

from urllib.parse import quote, urlsplit


def with_password(address: str, password: str) -> str:
    """Return ``address`` with ``password``, unless it has one of its own.

    Parameters:
        address: a URL whose user may stand without a password (``amqp://blog@mq.internal/users``).
        password: as it is, not quoted for a URL.

    Raises:
        ValueError: the address names no user.
    """
    parts = urlsplit(address)
    user, at, place = parts.netloc.rpartition("@")
    if ":" in user:
        return address
    if not at:
        raise ValueError("names no user, but a password is set")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}").geturl()
