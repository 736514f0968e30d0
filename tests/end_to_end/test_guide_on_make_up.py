"""``docs/add-a-service.md`` beside the system of `make up`, in another checkout."""

import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from local.ports import free_port
from tests.end_to_end.test_guide import PAGE, ROOT
from tests.support.guide import Command, Shell, commands_of, files_of, shell_in
from tests.support.servers import folder_for_servers

COPIED: Final = (
    *("auth_service", "blog_service", "contracts", "local", "migrations", "replica"),
    *("service_kit", "alembic.ini"),
)


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    """A shell in a copy of this checkout; what it has started is stopped in the end."""
    with folder_for_servers() as folder:
        checkout = folder / "checkout"
        checkout.mkdir()
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, checkout / name)
        (folder / "newsletter").mkdir()
        for name, content in files_of(PAGE).items():
            (folder / "newsletter" / name).write_text(content)
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("AUTH_", "BLOG_", "LOCAL"))
        }
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        async with shell_in(checkout, kept | {"PATH": programs}) as shell:
            try:
                yield shell
            finally:
                await shell.type(f"cd {checkout}; python -m local down")


@pytest.mark.slow  # it starts a system of its own
@pytest.mark.timeout(480)
async def test_the_page_works_beside_make_up(shell: Shell) -> None:
    """From its first line on; another `make up` leaves the account of the service as it is."""
    prepared = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert prepared is not None
    lines = (
        prepared[1]
        .replace("make up", "python -m local up")
        .replace("make -s env", "python -m local env")
    )
    for line in lines.replace("$PWD/.venv", str(Path(sys.executable).parents[1])).splitlines():
        await shell.follow(Command(line.replace("mkdir ../newsletter && ", ""), "…"))
    page = PAGE.replace("8003", str(free_port())).replace("8013", str(free_port()))
    for command in commands_of(page):
        await shell.follow(command)

    await shell.follow(
        Command("(cd ../checkout && python -m local up && cat .local/services)", "…newsletter")
    )
    await shell.follow(
        Command("auth-service replay start --to newsletter --dry-run", "consumer newsletter…")
    )
