"""Load the settings of a process.

What settings are made of is imported when a command runs, so that help comes at once.
"""

from typing import TYPE_CHECKING, TypeVar

from service_kit.process.errors import BadSettings

if TYPE_CHECKING:
    from service_kit.process.settings import ServiceSettings

Settings = TypeVar("Settings", bound="ServiceSettings")


def load(settings: type[Settings]) -> Settings:
    """Load the settings of this process from its environment.

    Raises:
        BadSettings: the message has a line for each bad variable, without its value.
    """
    from pydantic import ValidationError

    from service_kit.process.settings import not_utf8

    try:
        return settings()
    except UnicodeError:
        raise not_utf8() from None
    except ValidationError as error:
        lines = [
            # About several settings at once, the message names them itself.
            (f"{settings.variable('.'.join(map(str, problem['loc'])))}: " if problem["loc"] else "")
            + problem["msg"].removeprefix("Value error, ")
            for problem in error.errors(include_url=False)
        ]
        raise BadSettings("\n".join(lines)) from None
