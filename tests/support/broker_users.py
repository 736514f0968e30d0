"""Broker users with fewer rights than ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx

from local.broker import Broker


@contextmanager
def a_broker_user(broker: Broker, vhost: str | None, rights: str = "") -> Iterator[str]:
    """Make a broker user for the block; yield the address without the virtual host.

    Parameters:
        broker: where to make the user.
        vhost: the virtual host that the user may enter; None for none.
        rights: a regular expression; the user has all rights to names that match.
    """
    name = f"test-{uuid4().hex[:12]}"
    with httpx.Client(
        base_url=f"{broker.management_url}/api/", auth=broker.credentials, trust_env=False
    ) as api:
        api.put(f"users/{name}", json={"password": "p", "tags": ""}).raise_for_status()
        try:
            if vhost is not None:
                granted = dict.fromkeys(("configure", "write", "read"), rights)
                api.put(f"permissions/{vhost}/{name}", json=granted).raise_for_status()
            yield broker.address.replace("guest:guest", f"{name}:p")
        finally:
            api.delete(f"users/{name}").raise_for_status()
