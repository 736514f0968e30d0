"""The addresses of a broker, as one setting: AMQP URLs separated by blanks. Pure.

Each is a node of the same cluster; a client uses the first that accepts it.
"""

from urllib.parse import urlsplit

_ADDRESS = "must be the address of a RabbitMQ virtual host (amqp://… or amqps://…)"

_SEPARATE = "separate addresses by blanks, with user and virtual host in each, and no comma"

_BLANK = "a blank that is part of an address is written %20"


def split_addresses(amqp_urls: str) -> tuple[str, ...]:
    """Split the setting into its addresses."""
    return tuple(amqp_urls.split())


def checked(amqp_urls: str) -> str:
    """Return the setting with one blank between addresses.

    Raises:
        ValueError: one of them is no address; the message says which, and does not repeat it.
    """
    found = split_addresses(amqp_urls)
    for number, address in enumerate(found, 1):
        if wrong := _what_is_wrong(address):
            if len(found) > 1:
                wrong = f"address {number} of {len(found)} {wrong}; {_BLANK}"
            raise ValueError(wrong)
    if not found:
        raise ValueError(_ADDRESS)
    return " ".join(found)


def _what_is_wrong(address: str) -> str | None:
    if not address.startswith(("amqp://", "amqps://")):
        return _ADDRESS
    try:
        parts = urlsplit(address)
        if "," in parts.netloc.rpartition("@")[2] or "://" in parts.path:
            return f"must name one host: {_SEPARATE}"
        is_usable = parts.port != 0
    except ValueError:  # no number for a port, an open bracket
        is_usable = False
    return None if is_usable else _ADDRESS
