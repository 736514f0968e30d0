"""Users of the broker with fewer rights than ours, and what is declared there by somebody else."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx

from local.broker import Broker


@contextmanager
def a_broker_user(broker: Broker, vhost: str | None, rights: str = "") -> Iterator[str]:
    """The address of a fresh user, without the virtual host, for as long as the block.

    Parameters:
        broker: where to make them.
        vhost: which they may enter; None for no virtual host at all.
        rights: to names that match this regular expression they have all rights.
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
