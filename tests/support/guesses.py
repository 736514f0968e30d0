"""How many guesses of a password get through."""

from itertools import accumulate

from auth_service.throttle.model import delays


def guesses_allowed(free: int, seconds: float) -> int:
    """Return the number of wrong passwords that are checked within some seconds.

    Parameters:
        free: the number of guesses before the first delay.
        seconds: how long the guesses take; a busy machine may take longer than the first delay.
    """
    return free + sum(end <= seconds for end in accumulate(delays(60)))
