"""Files with a history, through the event pipeline: superlender, sme_invoices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl

from examples.results.flat import SEEDS
from examples.results.told import Runs, gather
from examples.superlender import convert as superlender
from models.lean_lightgbm import lgb
from models.train import measure, train
from models.train.boosting import PARAMETERS
from models.train.dataset import catalog_of, categorical, dataset, monotone, trainable
from models.train.metrics import Metrics
from streams.limits import DAY_MS
from streams.simulate.log import open_lines

CONFIG = Path(__file__).resolve().parents[1] / "superlender" / "config"
POLICIES = Path(__file__).resolve().parents[1] / "policies"
JULY_MS = 1_498_867_200_000  # 2017-07-01
LATE_DAYS = 7
ISSUER = "superlender"
SME_DAY_MS = 1_582_329_600_000  # 2020-02-22, the day after the last invoice
FOLDS = 5
ROUNDS = 150


def superlender_july(data: Path, folder: Path) -> Runs:
    """July's applications, the first 70 % to learn and calibrate, the last 30 % to test."""
    superlender.convert(data / "superlender", folder)
    frame = dataset(folder / "events.jsonl.gz", folder / "labels.csv", CONFIG, policies=False)
    return _train(frame, folder, fractions=(0.55, 0.15))


def superlender_before_july(data: Path, folder: Path) -> Runs:
    """Learn only from loans closed before July (bad: more than 7 days late), test on all of July.

    What a lender could have trained on 1 July. Each earlier loan is also a request, with what was
    known then.
    """
    source = data / "superlender"
    log = superlender._Log()  # noqa: SLF001 the converter beside us
    labels = []
    for row in superlender.applications(source).iter_rows(named=True):
        superlender._tell_application(log, row)  # noqa: SLF001
        known_at = row["at"] + (row["tenor_days"] + superlender.LABEL_GRACE_DAYS) * DAY_MS
        labels.append((row["applicant"], row["loan"], int(row["bad"]), known_at))
    for row in superlender.earlier_loans(source).iter_rows(named=True):
        request = {
            "type": "application", "id": f"q{row['loan']}", "applicant": row["applicant"],
            "product": superlender.PRODUCT, "channel": superlender.CHANNEL,
            "amount_cents": row["principal_cents"], "tenor_days": row["term_days"],
        }  # fmt: skip
        log.add(row["created_at"], request)
        superlender._tell_loan(log, row)  # noqa: SLF001
        parts = max(1, row["term_days"] // superlender.INSTALMENT_DAYS)
        end = row["due_at"] + (parts - 1) * superlender.INSTALMENT_DAYS * DAY_MS
        bad = int(row["closed_at"] > end + LATE_DAYS * DAY_MS)
        labels.append((row["applicant"], request["id"], bad, row["closed_at"]))
    path = folder / "earlier.jsonl.gz"
    with open_lines(path) as file:
        for event in superlender.with_ticks(log.events):
            file.write(orjson.dumps(event) + b"\n")
    known = pl.DataFrame(labels, ["applicant", "id", "bad", "known_at"], orient="row")
    frame = dataset(path, known, CONFIG, policies=False)
    own = pl.col("request").str.starts_with("q")
    frame = frame.filter(
        (own & (pl.col("known_at") < JULY_MS)) | (~own & (pl.col("at") >= JULY_MS))
    )
    earlier = frame.filter(pl.col("at") < JULY_MS)["at"].sort()
    return _train(frame, folder, boundaries_ms=(int(earlier[int(0.8 * len(earlier))]), JULY_MS))


def _train(frame: pl.DataFrame, folder: Path, **split: Any) -> Runs:
    catalog = catalog_of(CONFIG)
    names = trainable(frame, catalog)
    return gather(
        [
            train(
                frame,
                names,
                label="bad",
                time="at",
                name="m",
                folder=folder / "model",
                definition_hashes=catalog.definition_hashes,
                categorical=categorical(catalog, names),
                parameters={"monotone_constraints": monotone(catalog, names)},
                seed=seed,
                **split,
            )
            for seed in SEEDS
        ]
    )


class Firms(NamedTuple):
    """What the small firms came to: events replayed, labelled firms, and a measure a seed."""

    events: int
    firms: int
    bads: int
    metrics: list[Metrics]


def sme_invoices(data: Path, folder: Path) -> Firms:
    """Send every invoice as an activity, ask once for each firm at the end, and cross-validate."""
    source = data / "sme_invoices"
    firms = pl.read_csv(source / "enterprises_labelled123.csv.gz", infer_schema=False)
    path = folder / "sme.jsonl.gz"
    count = 0
    with open_lines(path) as file:
        for line in _sme_lines(source):
            file.write(line)
            count += 1
    labels = firms.select(
        applicant=pl.col("enterprise_id"),
        id=pl.lit("asked"),
        bad=(pl.col("default") == "是").cast(pl.Int8),
        known_at=pl.lit(SME_DAY_MS + 1),
    )
    frame = dataset(path, labels, POLICIES, policies=False)
    names = [name for name in trainable(frame, catalog_of(POLICIES)) if "invoice" in name]
    X, bad = frame.select(names).to_numpy(), frame["bad"].to_numpy() == 1
    return Firms(count, len(bad), int(bad.sum()), [_folds(X, bad, seed) for seed in SEEDS])


def _folds(X: np.ndarray[Any, Any], bad: np.ndarray[Any, Any], seed: int) -> Metrics:
    """Return the measure of scores that each firm got from the other folds."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(bad), int)
    for outcome in (True, False):
        rows = np.flatnonzero(bad == outcome)
        fold[rng.permutation(rows)] = np.arange(len(rows)) % FOLDS
    score = np.empty(len(bad))
    settings = {**PARAMETERS, "num_leaves": 7, "min_data_in_leaf": 8, "seed": seed, "verbose": -1,
                "num_threads": 2, "deterministic": True}  # fmt: skip
    for k in range(FOLDS):
        learn = lgb.Dataset(X[fold != k], bad[fold != k].astype(float))
        score[fold == k] = lgb.train(settings, learn, ROUNDS).predict(X[fold == k])
    return measure(bad, score, score, seed)


def _sme_lines(source: Path) -> Iterator[bytes]:
    """Yield lines in order of day; a credit note is a kind of its own with a positive amount."""
    frames = [
        pl.read_csv(source / name, infer_schema=False)
        for name in ("invoices_labelled123.csv.gz", "invoices_unlabelled302.csv.gz")
    ]
    rows = (
        pl.concat(frames, how="diagonal")
        .filter(pl.col("status") == "valid")
        .unique(["enterprise_id", "side", "invoice_no", "date"], keep="first", maintain_order=True)
        .select(
            "enterprise_id", "side", "counterparty",
            at=pl.col("date").str.to_date().cast(pl.Datetime("ms")).dt.epoch("ms"),
            cents=(pl.col("total").cast(pl.Float64) * 100).round().cast(pl.Int64),
        )
        .sort("at", maintain_order=True)
    )  # fmt: skip
    tick = 0
    for number, (firm, side, other, at, cents) in enumerate(rows.iter_rows()):
        if at > tick:
            tick = -(-at // DAY_MS) * DAY_MS
            yield orjson.dumps({"type": "tick", "at": tick}) + b"\n"
        kind = f"invoice_{side}{'_credit' if cents < 0 else ''}"
        yield orjson.dumps(
            {"type": "activity", "id": f"i{number}", "applicant": firm, "at": at, "kind": kind,
             "amount_cents": abs(cents), "counterparty": other}
        ) + b"\n"  # fmt: skip
    yield orjson.dumps({"type": "tick", "at": SME_DAY_MS}) + b"\n"
    for firm in rows["enterprise_id"].unique(maintain_order=True):
        yield orjson.dumps(
            {"type": "application", "id": "asked", "applicant": firm, "at": SME_DAY_MS,
             "product": "invoice_loan", "channel": "supplier", "amount_cents": 10_000_000,
             "tenor_days": 60}
        ) + b"\n"  # fmt: skip
