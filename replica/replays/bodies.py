"""What of the source's problem documents is of use here; their other parts are ignored."""

from typing import Annotated, Any

from pydantic import BaseModel, Field


class WrongPart(BaseModel):
    """A part of a question that the source found wrong."""

    pointer: Annotated[str, Field(max_length=200)]
    detail: Annotated[str, Field(max_length=1_000)]


class RefusalBody(BaseModel):
    """What of a problem document of the source is of use here."""

    code: Annotated[str, Field(max_length=64)]
    detail: Annotated[str, Field(max_length=1_000)] = ""
    errors: Annotated[list[WrongPart], Field(max_length=20)] = []

    def wrong(self) -> list[dict[str, Any]]:
        """The wrong parts, as a problem has them."""
        return [part.model_dump() for part in self.errors]
