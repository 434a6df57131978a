"""A month with twelve institutions: budgets change, one is paused, a policy goes live, and in the
end each gets a statement that anybody can make again from the log, to the cent.

    python -m examples.month --out month                    # some minutes
    python -m examples.month --out month --applicants 200   # some seconds

1. A deployment of twelve lenders. 2. Thirty-one days of simulated people and firms, decided as
they come: on day 8 one lender's budget is raised, on day 12 another's lowered, on day 16 a third is
paused, on day 20 a stricter policy is prepared and activated. 3. What must hold is checked on what
was written. 4. Statements from the outputs, and again from the log decided anew; the
loans of one lender shared with a partner, to the cent.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from examples.month.lend import Month, Place
from streams import frames
from streams.demo.crowd import make_crowd
from streams.demo.run import copy_config
from streams.fees.book import Book, book_of_replay, loans_of, make_book
from streams.fees.run import statement_of
from streams.fees.schedule import fees_file
from streams.fees.shares import shares_of
from streams.fees.show import as_html, money
from streams.limits import DAY_MS
from streams.partition import Input
from streams.replay import replay
from streams.schema import Cap
from streams.simulate.world import World, WorldConfig
from streams.sources import Placed
from streams.topology import OUT_DECISION, OUT_FUNDING
from streams.versions import save_version

ROOT = Path(__file__).resolve().parents[2]
INSTITUTIONS = 12
PARTITIONS = 2
START = 1_767_196_800_000  # 2026-01-01 in Shanghai, where the fees' months begin
DAYS = 31
STEP_MS = DAY_MS // 6
MONTH = "2026-01"
PACE = 10.0  # days of a loan in a day: dues and interest of a year within the month
RAISED, LOWERED, PAUSED, STRICTER = "meadow", "dawn_02", "north_02", "dawn"
CENTS = 50_000_000
PARTNERS = """
[[partners]]
id = "partner"
share_bps = 3_333
from = "2026-01"

[guarantee]
guarantor = "surety"
pool_cap_cents = 100_000
from = "2026-01"
"""


class Told(NamedTuple):
    """Where the commands stand: the pause and the activation, in each partition."""

    paused: Place
    activated: Place
    version: str


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run it; return what was checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for log and statements")
    parser.add_argument("--applicants", type=int, default=3_000)
    asked = parser.parse_args(argv)
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dipper-month-") as scratch:
        config = copy_config(ROOT / "examples" / "policies", Path(scratch))
        ids = make_crowd(config, INSTITUTIONS)
        month, told = lend(config, Path(scratch), asked.applicants)
        month.log().write_parquet(asked.out / "log.parquet")
        for name, topic in (("decisions", OUT_DECISION), ("funding", OUT_FUNDING)):
            (asked.out / f"{name}.jsonl").write_bytes(month.lines(topic))
        decisions = frames.read_lines(month.lines(OUT_DECISION), frames.DECISIONS)
        funding = frames.read_lines(month.lines(OUT_FUNDING), frames.FUNDING)
        rows = (Placed(row[0], Input(*row[1:])) for row in month.rows)
        metered = make_book(decisions, funding, loans_of(rows, month.refused(), month.ours))
        again = replay(asked.out / "log.parquet", config)
        redone = book_of_replay(again, asked.out / "log.parquet")
        return {
            "requests": decisions.height,
            "approved": decisions.filter(pl.col("outcome") == "approved").height,
            "institutions": decisions["institution"].drop_nulls().n_unique(),
            **check(decisions, funding, told),
            "statements": state(metered, redone, ids, config, asked.out),
            "shares_apart": shared(metered, redone, config),
        }


def lend(config: Path, scratch: Path, applicants: int) -> tuple[Month, Told]:
    """Let a month go by with all that happens in it."""
    settings = WorldConfig(
        applicants=applicants, rate_per_second=applicants * 2 / 86_400, request_share=0.2,
        pace=PACE, keep_truth=False,
    )  # fmt: skip
    month = Month(config, World(settings, START), PARTITIONS)
    stricter = scratch / "stricter"
    shutil.copytree(config, stricter, ignore=shutil.ignore_patterns("keys", "versions"))
    policy = stricter / "institutions" / STRICTER / "cash_line.toml"
    text = policy.read_text().partition("[[cases]]")[0]  # they hold for the cut-off of today
    policy.write_text(text.replace("cut_off_pd_ppm = 150_000", "cut_off_pd_ppm = 60_000"))
    version = save_version(config, stricter)
    places = {}
    for turn in range(1, DAYS * DAY_MS // STEP_MS + 1):
        month.until(START + turn * STEP_MS)
        match turn * STEP_MS / DAY_MS:
            case 8:
                month.change_cap(RAISED, Cap.OUTSTANDING, CENTS)
            case 12:
                month.change_cap(LOWERED, Cap.COMMITMENT, -CENTS)
            case 16:
                places["paused"] = month.tell("pause", PAUSED)
            case 20:
                month.tell("prepare", version)
                places["activated"] = month.tell("activate", version)
    return month, Told(places["paused"], places["activated"], version)


def check(decisions: pl.DataFrame, funding: pl.DataFrame, told: Told) -> dict[str, Any]:
    """Return what must hold, counted on what was written: money within what was granted, nothing of
    the paused lender behind its pause, nothing above the new cut-off behind the activation.
    """
    granted = pl.col("amount_cents").filter(pl.col("type") == "grant").sum()
    returned = pl.col("amount_cents").filter(pl.col("type") == "lease-return").sum()
    used = pl.col("reserved_cents") + pl.col("drawn_cents")
    leases = funding.group_by("institution", "cap", "partition", maintain_order=True).agg(
        granted=granted, kept=granted - returned, used=used.max(), last=used.last()
    )
    exceeded = leases.filter(
        (pl.col("used") > pl.col("granted")) | (pl.col("last") > pl.col("kept"))
    )
    approved = decisions.filter(pl.col("outcome") == "approved")
    late = _behind(approved, told.paused).filter(pl.col("institution") == PAUSED)
    before = approved.filter(pl.col("institution") == PAUSED).height - late.height
    lines = decisions.filter((pl.col("type") == "application") & (pl.col("product") == "cash_line"))
    risky = lines.with_columns(candidate=pl.col("candidates")).explode("candidate").unnest(
        "candidate", separator="."
    ).filter(
        (pl.col("candidate.institution") == STRICTER)
        & (pl.col("candidate.outcome") == "approved")
        & (pl.col("candidate.pd_ppm") > 60_000)
    )  # fmt: skip
    behind = _behind(risky, told.activated).height
    assert before > 0, "the month is too small to show a pause"
    assert risky.height > behind, "the month is too small to show the new cut-off"
    returns = funding.filter(pl.col("type") == "lease-return").height
    return {
        "caps_exceeded": exceeded.height, "lease_returns": returns, "of_the_paused": late.height,
        "above_the_new_cut_off": behind, "manifests": decisions["manifest"].n_unique(),
    }  # fmt: skip


def state(
    metered: Book, redone: Book, ids: list[str], config: Path, out: Path
) -> dict[str, dict[str, int]]:
    """Write each institution's statement; return its total from the outputs, from the log decided
    again, and the principal by moves of money and by loan events.
    """
    told = {}
    for id in ids:
        first, second = (statement_of(book, id, MONTH, config) for book in (metered, redone))
        (out / f"{id}.html").write_text(as_html(first))
        told[id] = {
            "fee_cents": first.total_cents,
            "again_cents": second.total_cents,
            "drawn_cents": first.drawn_cents,
            "disbursed_cents": first.disbursed_cents,
        }
    return told


def shared(metered: Book, redone: Book, config: Path) -> int:
    """Share the loans of whoever lends most with a partner, first losses with a guarantor. Return
    by how many cents the parts of all miss the whole, after those from the outputs were seen to be
    those of the log decided again: nothing.
    """
    begun = metered.loans.filter(pl.col("step") == "disbursed")
    lent = begun.group_by("issuer").agg(pl.col("principal_cents").sum()).sort("principal_cents")
    lender, paid = lent.row(-1)
    # Nothing that decides reads it, so it may be agreed afterwards.
    with fees_file(config, lender).open("a") as fees:
        fees.write(PARTNERS)
    first, second = (shares_of(book, lender, config) for book in (metered, redone))
    assert first.table().equals(second.table())
    parts = first.table().filter(pl.col("role") != "guarantor")
    assert set(parts["party"]) == {lender, "partner"}
    return abs(int(parts["drawn_cents"].sum()) - int(paid))


def _behind(decisions: pl.DataFrame, place: Place) -> pl.DataFrame:
    offsets = pl.Series(place.offsets).gather(decisions["partition"])
    return decisions.filter(decisions["offset"] > offsets)


def _show(found: dict[str, Any]) -> None:
    statements = found.pop("statements")
    for name, value in found.items():
        print(f"{name:24} {value}")
    print(f"\n{'institution':12} {'drawn':>16} {'fees of ' + MONTH:>16}  done again")
    for id, each in statements.items():
        same = "to the cent" if each["fee_cents"] == each["again_cents"] else "DIFFERS"
        same += "" if each["drawn_cents"] == each["disbursed_cents"] else ", draws DIFFER"
        print(f"{id:12} {money(each['drawn_cents']):>16} {money(each['fee_cents']):>16}  {same}")


if __name__ == "__main__":
    _show(main())
