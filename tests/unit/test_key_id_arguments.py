"""Key ids at the command line: one in 64 begins with a dash."""

import pytest
import typer

from auth_service.tokens.commands import app


@pytest.mark.parametrize("kid", ["-hZbLsXh8", "-ZbhsXh8", "--bLsXh8", "NzbLsXh8"])
@pytest.mark.parametrize("command", ["activate", "retire", "revoke"])
def test_a_key_id_is_no_option(command: str, kid: str) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for arguments in ([kid, "--json"], ["--json", kid], ["--json", "--", kid]):
        context = commands[command].make_context(command, list(arguments))
        assert (context.params["kid"], context.params["as_json"]) == (kid, True)
