"""What fees are metered from: decisions, moves of money and loan events that count, as frames.

Three ways lead to the same book: the topics as they stand on a broker, a log that is decided again,
or the frames of a replay that somebody has already. Repeats are left out by the ids of records, so
an at-least-once broker gives the same book.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from streams import frames
from streams.broker.dead_letters import read_letters
from streams.broker.fetch import all_committed
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.live import GROUP
from streams.replay import ReplayResult, replay
from streams.sources import KAFKA, Placed, open_source
from streams.topology import DECISIONS, EVENTS, FUNDING

LOANS = pl.Schema(
    {
        "applicant": pl.String(),
        "id": pl.String(),
        "at": pl.Int64(),
        "loan": pl.String(),
        "issuer": pl.String(),
        "step": pl.String(),
        "decision": pl.String(),
        "principal_cents": pl.Int64(),
        "interest_cents": pl.Int64(),
    }
)


@dataclass(frozen=True)
class Book:
    """Frames, each record once: `decisions` and `funding` as in `streams.frames`, `loans`: events
    of institutions of the deployment that were admitted (`LOANS`).

    `known`: the last `seq` of `dipper.funding` by partition: how much had happened when this was
    read.
    """

    decisions: pl.DataFrame
    funding: pl.DataFrame
    loans: pl.DataFrame
    known: dict[int, int]


def book_of(source: str | Path, config: Path, *, partitions: int | None = None) -> Book:
    """Return the book of `kafka://HOST:PORT` (the topics as they stand) or of a file or topic that
    the deployment `config` decides again. DipperError where it cannot be read or is not whole.
    """
    deployment = load_deployment(config)
    if isinstance(source, str) and source.startswith(KAFKA):
        bootstrap, _, topic = source.removeprefix(KAFKA).partition("/")
        if not topic:
            return _book_of_topics(bootstrap, deployment)
    return book_of_replay(replay(source, deployment, partitions=partitions), source, partitions)


def book_of_replay(
    result: ReplayResult, source: str | Path | pl.DataFrame, partitions: int | None = None
) -> Book:
    """Return the book of a replay of `source`, which is read again for its loan events."""
    deployment = result.deployment
    opened = open_source(source, partitions, deployment.caps, deployment.platform.decision_key)
    refused = set(result.dead_letters.select("partition", "offset").iter_rows())
    loans = loans_of(opened.records(), refused, frozenset(deployment.institution_ids))
    return make_book(result.decisions, result.funding, loans)


def make_book(decisions: pl.DataFrame, funding: pl.DataFrame, loans: pl.DataFrame) -> Book:
    """Return the book of these frames, repeats left out; DipperError where moves of money miss."""
    funding = funding.unique(["partition", "seq"], keep="first", maintain_order=True)
    known = {}
    for number, count, last in (
        funding.group_by("partition").agg(pl.len(), last=pl.col("seq").max()).iter_rows()
    ):
        if count != last:
            raise DipperError(
                f"{last - count:,} of {last:,} records of {FUNDING.name} in partition {number} are"
                " gone, so no fee can be told; take the archive, or decide the log again"
            )
        known[number] = last
    return Book(
        decisions.unique("id", keep="first", maintain_order=True),
        funding,
        loans.unique(["applicant", "id"], keep="first", maintain_order=True),
        dict(sorted(known.items())),
    )


def _book_of_topics(bootstrap: str, deployment: Deployment) -> Book:
    # First of all, so that nothing read below is behind it.
    opened = open_source(f"{KAFKA}{bootstrap}/{EVENTS.name}", None, {}, b"")
    # Up to where the workers have decided: what comes behind is not known yet.
    partitions = opened.partitions
    committed = asyncio.run(all_committed(bootstrap, GROUP, EVENTS.name, partitions))
    decided = [each.offset for each in committed]
    refused = {
        (int(letter.headers["partition"]), int(letter.headers["offset"]))
        for letter in asyncio.run(read_letters(bootstrap))
        if letter.headers.get("topic") == EVENTS.name
    }
    decisions = _lines(f"{KAFKA}{bootstrap}/{DECISIONS.name}", deployment)
    funding = _lines(f"{KAFKA}{bootstrap}/{FUNDING.name}", deployment)
    done = (each for each in opened.records() if each.record.offset < decided[each.partition])
    return make_book(
        frames.read_lines(decisions, frames.DECISIONS),
        frames.read_lines(funding, frames.FUNDING),
        loans_of(done, refused, frozenset(deployment.institution_ids)),
    )


def _lines(address: str, deployment: Deployment) -> bytes:
    records = open_source(address, None, deployment.caps, b"").records()
    return b"".join((each.record.value or b"") + b"\n" for each in records)


def loans_of(
    records: Iterable[Placed], refused: set[tuple[int, int]], ours: frozenset[str]
) -> pl.DataFrame:
    """Return the loan events (`LOANS`) of the institutions `ours` in a log, less what was refused,
    named by partition and offset.
    """
    return pl.DataFrame(list(_loan_rows(records, refused, ours)), schema=LOANS, orient="row")


def _loan_rows(
    records: Iterable[Placed], refused: set[tuple[int, int]], ours: frozenset[str]
) -> Iterator[tuple[Any, ...]]:
    for partition, record in records:
        value = record.value
        # Most events are none: their bytes say so without being read.
        if value is None or b'"loan"' not in value or (partition, record.offset) in refused:
            continue
        event = orjson.loads(value)
        if event["type"] == "loan" and event["issuer"] in ours:
            yield tuple(event.get(name) for name in LOANS)
