"""Exit codes of commands for scripts."""

from service_kit.process.terminal import Health, health


def test_health_is_the_worst_of_pipe_and_open_problems() -> None:
    """An unknown state is the worst."""
    for pipe, well, with_something_else in (
        ("quiet", 0, 1),
        ("consuming", 0, 1),
        ("publishing", 0, 1),
        ("behind: 1,001 messages wait", 1, 1),
        ("broken: no relay is active", 2, 2),
        ("", 2, 2),
        ("marvellous", 2, 2),
    ):
        assert health(pipe) == Health(well), pipe
        assert health(pipe, needs_attention=True) == Health(with_something_else), pipe
