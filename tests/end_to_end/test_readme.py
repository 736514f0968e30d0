"""The README's first commands at the APIs, as a reader types them."""

import asyncio
import json
import os
import re
from pathlib import Path

from tests.end_to_end.conftest import Running
from tests.support.programs import ran

README = (Path(__file__).parents[2] / "README.md").read_text()


async def test_the_first_requests_work_as_typed(running: Running) -> None:
    """A password, a sign-up whose token is kept, and a request with it at the other service."""
    [block] = [
        each for each in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "TOKEN=" in each
    ]
    # Between the settings, which the test has itself, and the status of the whole machine.
    typed = block.partition('eval "$(make env)"')[2].partition("make status")[0]
    addresses = {"AUTH_URL": running.auth_api.url, "BLOG_URL": running.blog_api.url}

    ended = await asyncio.to_thread(
        ran, "bash", "-euo", "pipefail", "-c", typed, env={"PATH": os.environ["PATH"], **addresses}
    )

    assert ended.returncode == 0, ended.stderr
    known = json.loads(ended.stdout)
    assert known["status"] in ("active", "provisional")  # its event may be on the way
    assert known["email"] in ("ada@example.org", None)
