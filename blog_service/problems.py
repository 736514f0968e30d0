"""Problem codes of the blog alone; ``service_kit.http.problems`` has the others."""

from typing import Final

from service_kit.http.problems import Code

POST_DELETED: Final = Code("post_deleted", 410, "The post was deleted")
UNKNOWN_AUTHOR: Final = Code("unknown_author", 422, "There is no such author here")
