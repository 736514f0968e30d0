"""How the APIs of a system on one machine end: at once, since no load balancer has to notice."""

from typing import Final

NO_DELAY: Final = {"AUTH_SHUTDOWN_DELAY_SECONDS": "0", "BLOG_SHUTDOWN_DELAY_SECONDS": "0"}
