"""What a comparison finds. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One difference from the last release.

    ``where`` names the thing, ``what`` says how it differs; together they identify the change.
    ``remedy`` says how to make it compatible. Without one, the change breaks nothing, and people
    are only told of it.
    """

    where: str
    what: str
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """What changed, as people accept it."""
        return f"{self.where}: {self.what}"

    @property
    def is_a_break(self) -> bool:
        """Whether what worked with the last release may fail now."""
        return bool(self.remedy)

    def __str__(self) -> str:
        return f"{self.sentence}; {self.remedy}" if self.remedy else self.sentence
