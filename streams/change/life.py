"""What may happen to a version, as a table.

    | state     | sign   | publish | replace  | back     | restore | withdraw  |
    |-----------|--------|---------|----------|----------|---------|-----------|
    | proposed  | signed |         |          |          |         | withdrawn |
    | signed    | signed | live    |          |          |         | withdrawn |
    | live      |        |         | archived | archived |         |           |
    | archived  |        |         |          |          | live    |           |
    | withdrawn |        |         |          |          |         |           |

A draft is a folder of its author's; it becomes `proposed` only when it was checked and, where it
decides anything, replayed. `replace`: another version of the same files goes live. `back`: it is
rolled back, and what it had replaced is restored.
"""

from enum import StrEnum

from streams.errors import DipperError


class State(StrEnum):
    """Where a version stands."""

    PROPOSED = "proposed"
    SIGNED = "signed"
    LIVE = "live"
    ARCHIVED = "archived"
    WITHDRAWN = "withdrawn"


class Step(StrEnum):
    """What may be done to it."""

    SIGN = "sign"
    PUBLISH = "publish"
    REPLACE = "replace"
    BACK = "back"
    RESTORE = "restore"
    WITHDRAW = "withdraw"


NEXT: dict[tuple[State, Step], State] = {
    (State.PROPOSED, Step.SIGN): State.SIGNED,
    (State.PROPOSED, Step.WITHDRAW): State.WITHDRAWN,
    (State.SIGNED, Step.SIGN): State.SIGNED,
    (State.SIGNED, Step.PUBLISH): State.LIVE,
    (State.SIGNED, Step.WITHDRAW): State.WITHDRAWN,
    (State.LIVE, Step.REPLACE): State.ARCHIVED,
    (State.LIVE, Step.BACK): State.ARCHIVED,
    (State.ARCHIVED, Step.RESTORE): State.LIVE,
}


def after(state: State, step: Step) -> State:
    """Return the state after a step; DipperError where the table has none."""
    found = NEXT.get((state, step))
    if found is None:
        able = [each.value for (from_, each) in NEXT if from_ is state]
        hint = f"it can {' or '.join(able)}" if able else "it has ended"
        raise DipperError(f"the change is {state}, which has no step {step}; {hint}")
    return found
