"""Print every user who differs while a run finds them: a report has the first thousand of a kind.

Guarantees: memory stays small however many differ. What is printed was classified as in any run,
after the heartbeat; if the run then fails, what is printed is still true, but not complete.
"""

import dataclasses
import json
from typing import Any, Final

from replica.reconcile.model import EveryFinding, Finding, Kind
from service_kit.process.terminal import plain


def ids_of(kind: Kind) -> EveryFinding:
    """Print the ids of users of one kind, one a line."""
    return EveryFinding(frozenset({kind}), lambda finding: print(finding.user_id))


class FindingsAsJson:
    """One JSON object as ``--json`` prints it, with all findings, printed as they are found."""

    def __init__(self) -> None:
        self.every: Final = EveryFinding(frozenset(Kind), self._print)
        self._before = '{"findings": ['

    def end(self, figures: dict[str, Any]) -> None:
        """Print the rest of the object: the run's other figures."""
        others = {name: value for name, value in figures.items() if name != "findings"}
        before = "" if self._before == ", " else self._before
        print(f"{before}], {json.dumps(others, default=plain)[1:]}")

    def _print(self, finding: Finding) -> None:
        print(self._before + json.dumps(dataclasses.asdict(finding), default=plain), end="")
        self._before = ", "
