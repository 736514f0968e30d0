"""The limits of live tails, a base for the settings of an API that has them."""

from typing import Annotated

from pydantic import Field

from service_kit.process.settings import ServiceSettings


class TailSettings(ServiceSettings):
    """How many tails there may be, how long each lasts, and how much it shows."""

    # Live tails of one process at once: a few operators watch, and each costs little, but holds a
    # connection of a client open.
    tails_max: Annotated[int, Field(ge=0, le=100)] = 20
    # Of these, tails of one user: a console that is open in a few tabs.
    tails_per_user_max: Annotated[int, Field(ge=1, le=100)] = 5
    # Lines that a tail shows a second, and up to twice as many at once: more than anyone reads. The
    # others are counted.
    tail_lines_per_second: Annotated[int, Field(ge=1, le=1_000)] = 50
    # How long one lasts at most; clients continue with another one. Access tokens end it sooner.
    tail_seconds_max: Annotated[float, Field(gt=0, le=3600)] = 900.0
