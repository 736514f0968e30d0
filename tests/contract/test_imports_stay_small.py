"""A service that only verifies tokens, or only reads events, needs few of our dependencies."""

import subprocess
import sys

OURS = {
    *("aio_pika", "asyncpg", "cryptography", "fastapi", "httpx", "prometheus_client", "pydantic"),
    *("rich", "sqlalchemy", "starlette", "structlog", "typer", "uvicorn"),
}


def test_a_module_imports_only_the_dependencies_that_it_needs() -> None:
    """In a fresh interpreter, since other tests import everything."""
    for module, needed in (
        ("contracts.tokens", {"cryptography"}),
        ("contracts.events", {"cryptography", "pydantic"}),
        ("contracts.sync.merge", {"cryptography", "pydantic"}),
        ("service_kit.process.terminal", {"typer"}),
        ("service_kit.database.commands", set()),
    ):
        imported = subprocess.run(
            [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split()

        assert sorted(OURS & set(imported)) == sorted(needed), module
