"""Rate limits for a system on one machine, where all requests come from one address.

A demonstration signs up hundreds of users in half a minute, tests and benchmarks even more, and
there are no strangers to limit. The limits stay on, so that their headers and errors can be seen.
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
    # The highest value allowed: tests sign in one user many times at once.
    "AUTH_SIGNIN_FAILURES_FREE": "100",
    "AUTH_SIGNIN_DELAY_SECONDS_MAX": "1",
}
