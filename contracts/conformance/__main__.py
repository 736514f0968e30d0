"""Try a consumer: ``python -m contracts.conformance run --help``."""

import argparse
import asyncio
import logging
import sys

from contracts.conformance.consumer import CannotRun
from contracts.conformance.run import UnderTest, run


def main() -> int:
    """Try the consumer that the arguments name.

    Returns:
        0 if it conforms, 1 if not, 2 if it could not be tried.
    """
    parser = argparse.ArgumentParser("python -m contracts.conformance", description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run", help="feed a consumer's queues, and compare its table")
    one.add_argument("--amqp", required=True, metavar="URL", help="of the virtual host")
    one.add_argument("--service", required=True, metavar="NAME", help="the prefix of its queues")
    given = "a command, or an address, that gives one JSON object a line: "
    one.add_argument("--table", required=True, help=f"{given}a row of the users")
    one.add_argument("--parked", help=f"{given}message_id and reason of a parked message")
    taken = "a command that reads JSON from standard input: "
    one.add_argument("--tokens", help=f"{taken}prints a verdict a line")
    one.add_argument("--digests", help=f"{taken}prints the digests of a table")
    one.add_argument(
        "--seconds", type=float, default=30.0, help="to settle all messages; default %(default)s"
    )
    # The AMQP library logs failed attempts; our own sentence has what matters.
    logging.disable()
    try:
        conforms = asyncio.run(run(UnderTest(**vars(parser.parse_args())), print))
    except CannotRun as error:
        print(error, file=sys.stderr)
        return 2
    print("it conforms" if conforms else "it does not conform")
    return 0 if conforms else 1


if __name__ == "__main__":
    sys.exit(main())
