"""What stands in a snapshot, for people: the list, one applicant, whether it is whole."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from streams.broker.publish import partition_of
from streams.broker.reader import FOREVER
from streams.buffers import Array
from streams.deployment import Deployment
from streams.errors import SnapshotError
from streams.partition import Partition
from streams.recover import load, state_of
from streams.schema import LineState, LoanState, OfferState
from streams.snapshot.image import Facts
from streams.snapshot.shelf import Shelf
from streams.snapshot.store import Store
from streams.state.tables import State
from streams.step import Step


class Verdict(NamedTuple):
    """One snapshot, read in full: what it is of, and what is wrong with it, empty if nothing."""

    partition: int
    offset: int
    facts: Facts | None
    fault: str


def examine(store: Store, partitions: int, *, deep: bool) -> Iterator[Verdict]:
    """Read the snapshots of so many partitions, newest first: footers, all bytes if `deep`."""
    for partition in range(partitions):
        shelf = Shelf(store, partition)
        for offset in reversed(shelf.offsets()):
            facts = None
            try:
                image = shelf.open(offset)
                facts = image.facts
                if deep:
                    image.check()
            except (SnapshotError, OSError) as error:
                yield Verdict(partition, offset, facts, str(error))
            else:
                yield Verdict(partition, offset, facts, "")


def newest_applicant(
    store: Store, deployment: Deployment, applicant: bytes, partitions: int
) -> dict[str, Any] | None:
    """Return what the newest good snapshot of the applicant's partition remembers of it.

    Raises `SnapshotError` where that was made by another engine, deployment or layout.
    """
    number = partition_of(applicant, partitions)
    partition = load(
        lambda: Partition(Step(deployment, number, partitions, _no_signature)), store, FOREVER
    )
    found = show_applicant(state_of(partition), deployment, applicant)
    if found is None:
        return None
    return {"partition": number, "offset": partition.position} | found


def _no_signature(*_: object) -> bool:
    return False  # nothing is decided here


def show_applicant(state: State, deployment: Deployment, applicant: bytes) -> dict[str, Any] | None:
    """Return what is remembered of an applicant as plain values (JSON fits); None if nothing.

    Money is cents, times are epoch milliseconds; a missing attribute or signal is left out.
    """
    rows = np.flatnonzero(
        (state.applicants["used"] == 1) & (state.applicants["id_len"] == len(applicant))
    )
    wanted = np.frombuffer(applicant, np.uint8)
    found = rows[(state.applicants["id"][rows, : len(applicant)] == wanted).all(axis=1)]
    if not len(found):
        return None
    row = int(found[0])
    applicant_row = state.applicants[row]
    catalog = deployment.catalog
    attributes = zip(
        (each.name for each in catalog.attributes), applicant_row["attributes"], strict=False
    )
    signals = zip(
        (f"{each.source}.{each.name}" for each in catalog.signals),
        applicant_row["signal_value"],
        strict=False,
    )
    names = deployment.institution_ids
    return {
        "row": row,
        "last_at": int(applicant_row["last_at"]),
        "events": int(applicant_row["events"]),
        "history_truncated": bool(applicant_row["truncated"]),
        "reserved_cents": int(applicant_row["reserved_cents"]),
        "attributes": _known(attributes),
        "signals": _known(signals),
        "lines": _rows(state.lines, row, LineState, names),
        "loans": _rows(state.loans, row, LoanState, names),
        "offers": _rows(state.offers, row, OfferState, names),
    }


def _known(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    return {name: float(value) for name, value in values if not np.isnan(value)}


_HIDDEN = frozenset({"lo", "hi", "applicant", "next", "generation", "first_due", "line", "offer"})


def _rows(
    table: Array,
    applicant: int,
    states: type[LineState] | type[LoanState] | type[OfferState],
    institutions: list[str],
) -> list[dict[str, Any]]:
    """Return the rows of an applicant, free ones left out, names for codes."""
    mine = table[(table["applicant"] == applicant) & (table["state"] != 0)]
    shown = []
    for each in mine:
        fields = {name: int(each[name]) for name in table.dtype.names or () if name not in _HIDDEN}
        named: dict[str, Any] = fields | {"state": states(fields["state"]).name.lower()}
        if fields["institution"] >= 0:
            named["institution"] = institutions[fields["institution"]]
        shown.append({"id": f"{int(each['hi']):016x}{int(each['lo']):016x}"} | named)
    return shown
