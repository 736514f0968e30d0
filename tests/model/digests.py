"""Steps of an unsound reading: changes are folded into the digests, and a reader sees only those.

In the product a reader adds the changes that are not folded yet, in one statement. So folding
changes nothing that anyone sees, and it is not a step of the model.
"""

from collections.abc import Iterator

from tests.model.rules import Rules
from tests.model.state import Next, State, Step


def steps(rules: Rules, state: State) -> Iterator[Next]:
    if not rules.reads_folded_only:
        return
    if state.source.folded != state.source.users:
        source = state.source._replace(folded=state.source.users)
        yield Next(Step("folded", detail="source"), state._replace(source=source))
    if state.replica.folded != state.replica.users:
        replica = state.replica._replace(folded=state.replica.users)
        yield Next(Step("folded", detail="replica"), state._replace(replica=replica))
