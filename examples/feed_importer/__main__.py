"""``python -m feed_importer FEED --author ID``."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID, uuid5

from .blog import Blog, ServiceAccount, Stopped
from .feed import Unusable, read_feed

OUTCOMES = ("created", "changed", "unchanged", "gone", "refused")


def main() -> int:
    """Import a feed; return 0 for success, 1 if incomplete, 2 if there is nothing to import."""
    arguments = _arguments()
    try:
        account = ServiceAccount(
            _setting("FEED_AUTH_URL"), _setting("FEED_SERVICE_ID"), _setting("FEED_API_KEY")
        )
        blog = Blog(_setting("FEED_BLOG_URL"), account)
        entries = read_feed(arguments.feed, arguments.seconds_max)
    except Unusable as error:
        _say(str(error))
        return 2
    counts: Counter[str] = Counter()
    try:
        for entry in entries:
            # The same entry and author always give the same post.
            post_id = uuid5(arguments.author, entry.key)
            outcome, reason = blog.upsert(post_id, arguments.author, entry.title, entry.body)
            counts[outcome] += 1
            if reason:
                _say(f"{entry.title}: {reason}")
    except Stopped as error:
        _say(str(error))
    print(", ".join(f"{outcome} {counts[outcome]}" for outcome in OUTCOMES))
    return 1 if counts["refused"] or counts.total() < len(entries) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "feed_importer", description="Synchronise an author's posts with an RSS or Atom feed."
    )
    parser.add_argument("feed", metavar="FEED", help="a file or an http(s) URL")
    parser.add_argument("--author", metavar="ID", type=UUID, required=True, help="a user's id")
    parser.add_argument(
        "--seconds-max", metavar="N", type=float, default=30, help="to fetch the feed; %(default)s"
    )
    return parser.parse_args()


def _setting(name: str) -> str:
    """Return a setting from the environment, or from the file that NAME_FILE names."""
    file = os.environ.get(f"{name}_FILE")
    try:
        value = Path(file).read_text().strip() if file else os.environ.get(name, "")
    except (OSError, ValueError):
        raise Unusable(f"{name}_FILE: {file} cannot be read") from None
    if not value:
        raise Unusable(f"{name} is not set")
    return value


def _say(text: str) -> None:
    print(f"feed_importer: {text}", file=sys.stderr)


sys.exit(main())
