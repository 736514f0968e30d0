"""The request and response bodies of previews."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from blog_service.texts import RENDERED, PostText


class NewPreviewBody(BaseModel):
    """A text to render."""

    model_config = ConfigDict(extra="forbid")

    body: PostText
    kind: Literal["post", "comment"] = Field(
        "post", description="what the text is for: headings in a comment are smaller"
    )


class PreviewBody(BaseModel):
    """A rendered text."""

    body_html: str = Field(description=RENDERED)
