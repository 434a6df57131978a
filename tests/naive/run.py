"""Run the real step over a log in batches of a given size, and read what it wrote."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from streams import counters
from streams.buffers import Array, Out, append_record
from streams.deployment import Deployment
from streams.schema import CAPS, OfferState, Refusal
from streams.step import Step
from tests.naive.books import Books, Lease
from tests.naive.logs import LogMaker, Row, verify
from tests.naive.records import Record


def make_step(deployment: Deployment) -> Step:
    """Return the step of the partition that generated logs are of."""
    return Step(deployment, LogMaker.partition, LogMaker.partitions, verify)


def records_of(out: Out, offset: Array) -> Iterator[Record]:
    """Yield the records in the buffer."""
    for row in out.rows[: int(out.used[0])]:
        start, length = int(row["value_start"]), int(row["value_len"])
        key = None
        if row["key_len"] >= 0:
            key_start = int(row["key_start"])
            key = out.data[key_start : key_start + int(row["key_len"])].tobytes()
        yield Record(
            int(row["topic"]),
            int(offset[row["source"]]),
            key,
            out.data[start : start + length].tobytes(),
            Refusal(int(row["refusal"])),
        )


def run_log(
    step: Step,
    log: Sequence[Row],
    size: int,
    after: Callable[[int], None] | None = None,
    first: int = 0,
) -> list[Record]:
    """Return all that the step writes for `log` from row `first`, in batches of `size` records.

    `after` is called with the number of records that are done, once after each batch.
    """
    written: list[Record] = []
    for start in range(first, len(log), size):
        stop = min(start + size, len(log))
        for offset in range(start, stop):
            assert append_record(step.batch, offset, *log[offset])
        for out in step.run():
            written += records_of(out, step.batch.offset)
        if after:
            after(stop)
    return written


def counts_of(step: Step) -> Counter[tuple[str, str]]:
    """Return the counters that do not depend on how the step works: no waves, no lanes."""
    found: Counter[tuple[str, str]] = Counter()
    for family in counters.layout(step.deployment.dimensions):
        if family.name not in {"waves", "slow_lane"} and not family.edges:
            for place, values in enumerate(family.values):
                found[family.name, "/".join(values)] = int(step.counters[family.start + place])
    return found


def leases_of(step: Step) -> dict[tuple[int, int], Lease]:
    """Return each lease by institution and cap."""
    rows = step.core.state.leases
    return {
        divmod(place, CAPS): Lease(*(int(row[f"{pot}_cents"]) for pot in vars(Lease())))
        for place, row in enumerate(rows)
    }


def faults(step: Step) -> Iterator[str]:
    """Yield each way in which money in the step's tables does not balance (DESIGN §6).

    Leases: granted + overdrawn = free + reserved + drawn + returned, none negative, and what is
    reserved and drawn is what offers, lines and loans hold. Lines: available = limit - draws
    reserved - principal owed.
    """
    state = step.core.state
    offers = state.offers
    held = offers[
        (offers["state"] == OfferState.OFFERED) | (offers["state"] == OfferState.ACCEPTED)
    ]
    lines = state.lines[state.lines["state"] != 0]
    loans = state.loans[(state.loans["state"] != 0) & (state.loans["institution"] >= 0)]
    for (institution, cap), lease in leases_of(step).items():
        mine = held[(held["institution"] == institution) & (held["cap"] == cap)]
        reserved = int(mine["amount_cents"].sum())
        table, amount = (lines, "committed_cents") if cap else (loans, "outstanding_cents")
        drawn = int(table[table["institution"] == institution][amount].sum())
        pots = lease.free + lease.reserved + lease.drawn + lease.returned
        if lease.granted + lease.overdrawn != pots or min(vars(lease).values()) < 0:
            yield f"lease {institution}/{cap} does not balance: {lease}"
        if (reserved, drawn) != (lease.reserved, lease.drawn):
            yield f"lease {institution}/{cap}: {reserved} and {drawn} are held, {lease}"
        if lease.reserved + lease.drawn > lease.granted + lease.overdrawn:
            yield f"lease {institution}/{cap} is above its grants: {lease}"
    for row in range(len(state.lines)):
        line = state.lines[row]
        if line["state"] == 0:
            continue
        reserved = int(held[held["line"] == row]["amount_cents"].sum())
        owed = int(loans[loans["line"] == row]["outstanding_cents"].sum())
        if line["available_cents"] != line["limit_cents"] - reserved - owed:
            yield f"line {row}: {reserved} reserved, {owed} owed, {line}"


def same_leases(step: Step, books: Books) -> bool:
    """Say whether every pot of every lease is as the naive step has it."""
    return leases_of(step) == books.leases
