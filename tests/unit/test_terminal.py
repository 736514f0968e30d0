"""Exit codes of commands for scripts."""

import pytest

from service_kit.process.terminal import Health, health


@pytest.mark.parametrize(
    ("pipe", "well", "with_something_else"),
    [
        ("quiet", 0, 1),
        ("consuming", 0, 1),
        ("publishing", 0, 1),
        ("behind: 1,001 messages wait", 1, 1),
        ("broken: no relay is active", 2, 2),
        ("", 2, 2),
        ("marvellous", 2, 2),
    ],
)
def test_health_is_the_worst_of_pipe_and_open_problems(
    pipe: str, well: int, with_something_else: int
) -> None:
    """An unknown state is the worst."""
    assert health(pipe) == Health(well)
    assert health(pipe, needs_attention=True) == Health(with_something_else)
