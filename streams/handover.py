"""Who decides a partition: a note beside the committed offset, in the same transaction.

Every transaction says by which rules all before its offset was decided: `<engine>/<manifest>`. So a
worker of other rules knows it before it touches the partition, with or without snapshots, and what
the note says cannot part from the offset it is about. `dipper state adopt` (`streams/adopt.py`)
moves the note on, in two steps:

    old            the old rules decide
    old > new      nobody decides: the old follower writes the state at just this offset
    new            the new rules go on

A group that never committed with transactions has no note: then snapshots alone say who made them.
"""

from pathlib import Path
from typing import NamedTuple

from streams import step as steps
from streams.deployment import Deployment
from streams.errors import HandoverError
from streams.kernel_cache import code_hash
from streams.ports import Committed

_DIGITS = 16
_TO = " > "
_REMEDY = "hand it over with dipper state adopt, or run what decided it"


class Charge(NamedTuple):
    """What a note says: `by`, the rules that decided all before the offset, "" where unknown; `to`,
    those that it is being handed over to, "" where it is not.
    """

    by: str
    to: str = ""

    @property
    def note(self) -> str:
        """Return it as it stands beside the offset."""
        return f"{self.by}{_TO}{self.to}" if self.to else self.by


def read_note(note: str) -> Charge:
    """Return what a note says."""
    by, _, to = note.partition(_TO)
    return Charge(by, to)


def engine_hash() -> str:
    """Return the hash of the code that the step reaches."""
    return code_hash(Path(steps.__file__))


def name_rules(engine: str, manifest: str) -> str:
    """Return the name of the rules that an engine and a manifest are."""
    return f"{engine[:_DIGITS]}/{manifest[:_DIGITS]}"


def rules_of(deployment: Deployment, partitions: int) -> str:
    """Return the name of what decides here."""
    return name_rules(engine_hash(), deployment.manifest_hash(partitions))


def refuse(number: int, committed: Committed, ours: str) -> None:
    """Raise `HandoverError` where others decide a partition, or nobody for the moment.

    `ours` "" stands for rules without a name, which no note speaks of.
    """
    by, to = read_note(committed.note)
    if not ours or (not to and by in {"", ours}):
        return
    where = f"partition {number} is decided up to offset {committed.offset}"
    if to:
        raise HandoverError(f"{where} and being handed over from {by or 'others'} to {to}")
    raise HandoverError(f"{where} by {_difference(by, ours)}; {_REMEDY}")


def _difference(theirs: str, ours: str) -> str:
    engine, _, manifest = theirs.partition("/")
    if engine != ours.partition("/")[0]:
        return f"another version of the engine ({engine}, here {ours.partition('/')[0]})"
    return f"another deployment ({manifest}, here {ours.partition('/')[2]})"
