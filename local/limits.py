"""Limits on requests for a system on one machine, where all of them come from one address.

A demonstration signs hundreds of people up in half a minute, checks and benchmarks more than that;
what the limits keep away from a service that others can reach is not there. They stay limits, so
that their header fields and refusals can be seen.
"""

from typing import Final

LIMITS: Final = {
    **{
        f"AUTH_LIMIT_{name}": "600000/60"
        for name in (
            "SIGNUP",
            "SIGNIN",
            "SIGNIN_FAILURES",
            "ACCOUNT_FAILURES",
            "REFRESH",
            "TOKEN",
            "INTROSPECT",
            "PASSWORD",
            "MAIL",
            "HEARTBEATS",
        )
    },
    "BLOG_LIMIT_POSTS": "600000/60",
    "BLOG_LIMIT_COMMENTS": "600000/60",
    # The most that the service accepts: checks sign one user in many times at once.
    "AUTH_SIGNIN_FAILURES_FREE": "100",
    "AUTH_SIGNIN_DELAY_SECONDS_MAX": "1",
}
