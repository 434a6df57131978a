"""Write events, labels and a first deployment from CSV files and their map.

1. Read applications, refuse rows that cannot be one, each with its reason. 2. Tell the history,
each fact at the time at which it became known. 3. Sort all by that time, a tick before each day.
4. Write labels, refused rows, and where asked for a deployment whose catalog knows the columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from models.policy.documents import read_document
from streams.errors import DipperError
from streams.importing.columns import Times, cents, need, read_table
from streams.importing.map import Activity, Loan, Map
from streams.importing.requests import (
    SIGNAL_SOURCE,
    Column,
    Counts,
    plain_values,
    read_labels,
    read_requests,
)
from streams.importing.starter import write_deployment
from streams.limits import DAY_MS
from streams.simulate.log import open_lines

Event = tuple[int, int, dict[str, Any]]


@dataclass(frozen=True)
class Imported:
    """What an import came to; `counts` says what was refused, and why."""

    requests: int
    events: int
    labels: int
    bad: int
    counts: Counts
    refused_file: Path | None
    deployment: Path | None


def import_csv(
    csv: Path,
    plan_file: Path,
    out: Path,
    labels: Path,
    today_ms: int,
    deployment: Path | None = None,
) -> Imported:
    """Write events to `out` and labels beside; refused rows go to `<out>.refused.csv`.

    Times later than `today_ms` are refused. Raises DipperError where the map or a file is wrong.
    """
    plan, _ = read_document(plan_file, Map)
    where, folder = str(plan_file), plan_file.parent
    times, counts = Times(plan.zone, where), Counts()
    kept, columns, refused = read_requests(csv, plan, folder, where, times, counts, today_ms)
    outcomes = read_labels(kept, csv, plan, where, times, counts)
    events = [*_requests(kept, columns, plan)]
    known = set(kept["applicant"].unique().to_list())
    for activity in plan.activity:
        events += _activities(activity, folder, where, times, counts, known, today_ms)
    for loan in plan.loan:
        events += _loans(loan, folder, where, times, counts, known, today_ms)
    if times.zoned and times.bare:
        counts.notes.append(
            f"{times.zoned} times bear a zone of their own, {times.bare} bear none and are read as"
            f" {plan.zone}"
        )
    _write(events, out)
    refused_file = _write_refused(refused, out)
    if outcomes is not None:
        outcomes.write_csv(labels)
    if deployment is not None:
        write_deployment(deployment, plan, kept, columns)
    return Imported(
        requests=kept.height,
        events=len(events),
        labels=0 if outcomes is None else outcomes.height,
        bad=0 if outcomes is None else int(outcomes["bad"].sum()),
        counts=counts,
        refused_file=refused_file,
        deployment=deployment,
    )


def _requests(kept: pl.DataFrame, columns: list[Column], plan: Map) -> Iterator[Event]:
    request = plan.request
    signals = [column for column in columns if column.signal]
    for number, row in enumerate(kept.iter_rows(named=True)):
        at = row["at"]
        who = {"applicant": row["applicant"], "at": at}
        for column in signals:
            if row[column.name] is not None:
                event = {"type": "signal", "id": f"{row['line']}-{column.name}"[:40], **who}
                # What counts stands before the request: a millisecond is enough.
                event |= {"at": at - 1, "source": SIGNAL_SOURCE}
                event |= {"name": column.name, "value": row[column.name]}
                yield at, 2 * number, event
        yield (
            at,
            2 * number + 1,
            {
                "type": "application",
                "id": row["id"],
                **who,
                "product": request.product,
                "channel": request.channel,
                "amount_cents": row["amount_cents"],
                "tenor_days": row["tenor_days"],
                **plain_values(row, columns),
            },
        )


def _activities(
    plan: Activity, folder: Path, where: str, times: Times, counts: Counts, known: set[str],
    today_ms: int,
) -> Iterator[Event]:  # fmt: skip
    path = folder / plan.file
    table = read_table(path)
    named = [plan.applicant, plan.at, plan.amount, plan.counterparty]
    need(table, [name for name in named if name], path, where)
    rows = table.select(
        applicant=pl.col(plan.applicant),
        counterparty=pl.col(plan.counterparty) if plan.counterparty else pl.lit(None, pl.String),
    ).with_columns(
        times.read(table[plan.at], plan.at_format).alias("at"),
        (
            cents(table[plan.amount], plan.amount_unit_cents)
            if plan.amount
            else pl.Series([None], dtype=pl.Int64).new_from_index(0, table.height)
        ).alias("amount_cents"),
    )
    wrong = (
        pl.when(pl.col("at").is_null()).then(pl.lit("time cannot be read"))
        .when(pl.col("at") > today_ms).then(pl.lit("time lies in the future"))
        .when(pl.col("amount_cents").is_not_null() & (pl.col("amount_cents") < 0))
        .then(pl.lit("a negative amount: map it to a kind of its own"))
        .when(~pl.col("applicant").is_in(sorted(known))).then(pl.lit("nobody of that id applies"))
    )  # fmt: skip
    for number, row in enumerate(_kept(rows, wrong, counts, plan.file)):
        event = {
            "type": "activity",
            "id": f"{plan.kind}-{number}",
            "applicant": row["applicant"],
            "at": row["at"],
            "kind": plan.kind,
            "amount_cents": row["amount_cents"],
            "counterparty": row["counterparty"],
        }
        told = {name: value for name, value in event.items() if value is not None}
        yield row["at"] + plan.lag_days * DAY_MS, -1, told


def _loans(
    plan: Loan, folder: Path, where: str, times: Times, counts: Counts, known: set[str],
    today_ms: int,
) -> Iterator[Event]:  # fmt: skip
    path = folder / plan.file
    table = read_table(path)
    named = [plan.applicant, plan.loan, plan.disbursed_at, plan.due_at, plan.principal]
    need(table, [*named, *(name for name in (plan.closed_at, plan.total) if name)], path, where)
    dates = {"disbursed_at": plan.disbursed_at, "due_at": plan.due_at, "closed_at": plan.closed_at}
    rows = table.select(applicant=pl.col(plan.applicant), loan=pl.col(plan.loan)).with_columns(
        *(
            times.read(table[name], plan.at_format).alias(key)
            for key, name in dates.items()
            if name
        ),
        cents(table[plan.principal], plan.amount_unit_cents).alias("principal"),
        cents(table[plan.total or plan.principal], plan.amount_unit_cents).alias("total"),
    )
    if not plan.closed_at:
        rows = rows.with_columns(closed_at=pl.lit(None, pl.Int64))
    wrong = (
        pl.when(pl.col("disbursed_at").is_null() | pl.col("due_at").is_null())
        .then(pl.lit("time cannot be read"))
        .when(pl.col("disbursed_at") > today_ms).then(pl.lit("time lies in the future"))
        .when(pl.col("principal").is_null() | (pl.col("principal") < 1))
        .then(pl.lit("principal is missing or none"))
        .when(~pl.col("applicant").is_in(sorted(known))).then(pl.lit("nobody of that id applies"))
        .when(pl.struct("applicant", "loan").cum_count().over("applicant", "loan") > 1)
        .then(pl.lit("the loan stands twice; the first counts"))
    )  # fmt: skip
    for row in _kept(rows, wrong, counts, plan.file):
        yield from _tell_loan(row, plan)


def _tell_loan(row: dict[str, Any], plan: Loan) -> Iterator[Event]:
    interest = max(row["total"] - row["principal"], 0)
    steps = [
        ("disbursed", row["disbursed_at"], {"principal_cents": row["principal"]}),
        (
            "due",
            row["disbursed_at"],
            {
                "principal_cents": row["principal"],
                "interest_cents": interest,
                "due_at": row["due_at"],
            },
        ),
    ]
    if row["closed_at"] is not None:
        paid = {"principal_cents": row["principal"], "interest_cents": interest}
        steps += [("payment", row["closed_at"], paid), ("closed", row["closed_at"], {})]
    for order, (step, at, money) in enumerate(steps):
        event = {
            "type": "loan",
            "id": f"{row['loan']}-{step}"[-40:],
            "applicant": row["applicant"],
            "at": at,
            "loan": row["loan"],
            "issuer": plan.issuer,
            "step": step,
            **money,
        }
        yield at + plan.lag_days * DAY_MS, order - len(steps), event


def _kept(
    rows: pl.DataFrame, wrong: pl.Expr, counts: Counts, file: str
) -> Iterator[dict[str, Any]]:
    told = rows.with_columns(wrong=wrong)
    for text, count in told["wrong"].drop_nulls().value_counts(sort=True).iter_rows():
        counts.refuse(f"{file}: {text}", count)
    yield from told.filter(pl.col("wrong").is_null()).iter_rows(named=True)


def _write(events: list[Event], out: Path) -> None:
    """Write events by the time they became known, a tick that bears its end before each day."""
    tick = 0
    try:
        with open_lines(out) as file:
            for known_at, _, event in sorted(events, key=lambda each: each[:2]):
                if known_at > tick:
                    tick = -(-known_at // DAY_MS) * DAY_MS
                    file.write(orjson.dumps({"type": "tick", "at": tick}) + b"\n")
                file.write(orjson.dumps(event) + b"\n")
    except OSError as error:
        raise DipperError(f"{out}: cannot be written ({error.strerror})") from error


def _write_refused(refused: pl.DataFrame, out: Path) -> Path | None:
    if refused.is_empty():
        return None
    path = out.with_name(f"{out.name}.refused.csv")
    refused.write_csv(path)
    return path
