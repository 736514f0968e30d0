"""The blog's service account at the auth service of this machine.

With its key the blog compares itself with the source (reconcile) and requests replays.

Guarantees: the account is created once; its id and key are in files that only their owner can read;
`make up` creates lost files, accounts and keys again; only `make env` shows the key.
"""

import os
import subprocess
from typing import Final

from local import environment
from local.errors import LocalError
from local.keys import PRIVATE_KEY
from local.paths import CHECKOUT, LOCAL, LOGS, ROOT, program

FOLDER: Final = LOCAL / "keys" / "blog"
"""Where `auth-service services ensure` stores the two files."""

_SCOPES: Final = ("--scope", "users:reconcile", "--scope", "replays:write")
_KEY_DAYS = 3650  # a system on one machine may run for longer than the 90 days of a service
_TIMEOUT_SECONDS = 60.0  # usually a second; the rest is for a busy machine


def _ensure() -> tuple[str, ...]:
    """Return the command that creates or repairs the account.

    In a given database its name has this checkout's id: an account `blog` may belong to another
    system, whose key must not be revoked.
    """
    name = "blog" if environment.database_url("AUTH") is None else f"blog-{CHECKOUT}"
    return ("services", "ensure", name, "--folder", str(FOLDER), *_SCOPES)


def ensure_account(auth_database_url: str) -> None:
    """Create or repair the account in the migrated auth database, and its key here.

    Raises:
        LocalError: that failed; names the log.
    """
    settings = {
        "AUTH_DATABASE_URL": auth_database_url,
        "AUTH_PRIVATE_KEY": str(PRIVATE_KEY),  # the auth API hashes API keys with it
        "AUTH_API_KEY_DAYS": str(_KEY_DAYS),
    }
    done = subprocess.run(
        [str(program("auth-service")), *_ensure()],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        log = LOGS / "blog-account.log"
        log.write_text(done.stdout + done.stderr)
        last = done.stderr.strip().rpartition("\n")[2]
        raise LocalError(f"The blog has no account at the auth service: {last} (see {log}).")


def account_settings() -> dict[str, str]:
    """Return the blog's settings for its account; none before the first `make up`."""
    files = {"BLOG_SERVICE_ID": FOLDER / "service-id", "BLOG_API_KEY": FOLDER / "api-key"}
    try:
        # As values: with NAME_FILE, an older key that `make env` exported to a shell would win.
        return {name: file.read_text() for name, file in files.items()}
    except FileNotFoundError:
        return {}
