"""The blog's service account at the auth service of this machine.

The blog shows its key to be told what the source has, when it compares itself (reconcile), and to
have it send everything again (replay).

Guarantees: made once and kept, id and key in files for their owner only; whatever was lost, also
the database, `make up` mends it; the key is shown by nothing but `make env`.
"""

import os
import subprocess
from typing import Final

from local import environment
from local.errors import LocalError
from local.keys import PRIVATE_KEY
from local.paths import CHECKOUT, LOCAL, LOGS, ROOT, program

FOLDER: Final = LOCAL / "keys" / "blog"
"""Where `auth-service services ensure` keeps the two files."""

_SCOPES: Final = ("--scope", "users:reconcile", "--scope", "replays:write")
_KEY_DAYS = 3650  # a system on one machine may run for longer than the 90 days of a service
_TIMEOUT_SECONDS = 60.0  # a second as a rule; the rest is for a busy machine


def _ensure() -> tuple[str, ...]:
    """The command that sees to the account.

    In a database that was given it has a name of this checkout's own: an account `blog` may be of
    another system, whose key must not be revoked.
    """
    name = "blog" if environment.database_url("AUTH") is None else f"blog-{CHECKOUT}"
    return ("services", "ensure", name, "--folder", str(FOLDER), *_SCOPES)


def ensure_account(auth_database_url: str) -> None:
    """Have the account in the auth database, which is migrated, and its key here.

    Raises:
        LocalError: it cannot be made; names the log.
    """
    settings = {
        "AUTH_DATABASE_URL": auth_database_url,
        "AUTH_PRIVATE_KEY": str(PRIVATE_KEY),  # with which the auth API hashes keys
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
    """The blog's settings by which it shows who it is; none before the first `make up`."""
    files = {"BLOG_SERVICE_ID": FOLDER / "service-id", "BLOG_API_KEY": FOLDER / "api-key"}
    try:
        # As values: with NAME_FILE, an older key that `make env` exported to a shell would win.
        return {name: file.read_text() for name, file in files.items()}
    except FileNotFoundError:
        return {}
