"""A service that only verifies tokens, or only reads events, needs few of our dependencies."""

from tests.support.programs import python

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
        show = f"import sys, {module}; print(*sys.modules)"
        imported = python("-c", show, check=True).stdout.split()
        assert sorted(OURS & set(imported)) == sorted(needed), module
