"""Create the replica's service account at the source."""

from collections.abc import Mapping

from benchmarks.processes import answer
from benchmarks.stage import Stage
from contracts.sync.comparison import SCOPE
from local.keys import PRIVATE_KEY, ensure_keys
from local.paths import program
from local.ports import LOOPBACK


async def create_account(stage: Stage) -> dict[str, str]:
    """Create an account, in place of that of an earlier measurement.

    Return the replica's settings that identify it.
    """
    ensure_keys()
    await stage.run(stage.auth_url, "TRUNCATE service_accounts CASCADE")
    issued = await answer(
        "services_create",
        [
            *(str(program("auth-service")), "services", "create", "benchmarks"),
            *("--scope", SCOPE, "--json"),
        ],
        {"AUTH_DATABASE_URL": stage.auth_url, "AUTH_PRIVATE_KEY": str(PRIVATE_KEY)},
    )
    return {"BLOG_SERVICE_ID": issued["id"], "BLOG_API_KEY": issued["api_key"]}


def source_settings(account: Mapping[str, str], port: int) -> dict[str, str]:
    """Return the settings that name the source at ``port``."""
    return {"BLOG_AUTH_URL": f"http://{LOOPBACK}:{port}", **account}
