"""`dipper train`: a model from a log and its labels, measured on later rows, as a folder."""

import enum
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.errors import DipperError
from streams.options import Events, First, Label, Side, note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from models.train import TrainingResult


RejectInference = Annotated[
    float | None,
    typer.Option(
        metavar="ODDS",
        min=0.1,
        max=100,
        help="Declined requests teach too, at ODDS times the odds of bad of an approved one of"
        " equal score: an assumption, told in the card; with 1 they teach nothing new.",
    ),
]


class Summary(enum.StrEnum):
    """How the result is told."""

    text = "text"
    json = "json"


class Kind(enum.StrEnum):
    """What kind of model."""

    lightgbm = "lightgbm"
    scorecard = "scorecard"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper train events.jsonl.gz --label labels.csv --config examples/policies"
        " --name consumer --side consumer --first"
    )(train)


def train(
    events: Events,
    label: Label,
    config: Annotated[Path, typer.Option(help="Folder of the deployment.")] = Path(
        "examples/policies"
    ),
    name: Annotated[str, typer.Option(help="Name of the model, as policies call it.")] = "consumer",
    kind: Annotated[
        Kind, typer.Option(help="Trees, or points per bin (needs the extra 'scorecard').")
    ] = Kind.lightgbm,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the model; default trained/NAME.")
    ] = None,
    side: Side = None,
    first: First = False,
    as_of: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Only labels known by this day, UTC.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="File, a name a line; default: all that say something.")
    ] = None,
    train_share: Annotated[
        float, typer.Option(min=0.05, max=0.9, help="Oldest rows, to learn from.")
    ] = 0.55,
    calibrate_share: Annotated[
        float, typer.Option(min=0.05, max=0.9, help="Next rows, to stop and calibrate on.")
    ] = 0.15,
    test_share: Annotated[
        float,
        typer.Option(
            min=0.05, max=0.9, help="Next rows, to test on; the newest rest is out of time."
        ),
    ] = 0.15,
    tries: Annotated[
        int, typer.Option(min=0, max=200, help="Settings to try inside the oldest rows; 0: none.")
    ] = 0,
    trees: Annotated[int, typer.Option(min=1, max=10_000, help="Trees at most.")] = 1_000,
    learning_rate: Annotated[float, typer.Option(min=0.001, max=1.0, help="Of LightGBM.")] = 0.03,
    reject_inference: RejectInference = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 1,
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.text,
) -> None:
    """Train a model on features as they were at each request.

    The log is replayed through the step that decides live; rows are split by time into those to
    learn from, those to calibrate on, those to test on, and the newest, which are out of time.
    The folder also gets card.json: figures by month and segment, reliability, what drives it.
    """
    options = {
        "name": name,
        "kind": kind.value,
        "features": features,
        "side": side,
        "as_of_ms": None if as_of is None else day_ms(as_of),
        "policies": not first,
        "parameters": {"learning_rate": learning_rate},
        "fractions": (train_share, calibrate_share, test_share),
        "rounds_max": trees,
        "tries": tries,
        "reject_odds": reject_inference,
        "seed": seed,
    }
    result = _train(events, label, config, out or Path("trained") / name, options)
    _show(result)
    if summary is Summary.json:
        typer.echo(_json(result))


def _train(
    events: str, label: Path, config: Path, out: Path, options: dict[str, Any]
) -> "TrainingResult":
    from rich.console import Console

    from features.errors import CatalogError
    from models.errors import ModelError
    from models.policy.errors import PolicyError
    from models.train.log import train_on_log

    try:
        with Console(stderr=True).status("replaying the log, then training"):
            return train_on_log(events, label, config, out, tell=note, **options)
    except (CatalogError, ModelError, PolicyError, OSError) as error:
        raise DipperError(str(error)) from error


def day_ms(day: str) -> int:
    """Return the first millisecond of a day that an option names."""
    try:
        return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000)
    except ValueError as error:
        raise DipperError(f"--as-of {day}: not a day; write it as 2026-01-31") from error


def _show(result: "TrainingResult") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "", title=f"{result.folder} ({result.sha256[:16]})", show_header=False)
    table.add_row("rows", f"{result.rows_train:,} to learn from, {result.rows_calibrate:,}"
                  f" to calibrate on, {result.rows_test:,} to test on,"
                  f" {result.rows_out_of_time:,} newest out of time")  # fmt: skip
    table.add_row("trees, features", f"{result.trees:,}, {result.features:,}")
    measures = (
        ("AUC", result.auc),
        ("AUC out of time", result.auc_out_of_time),
        ("KS", result.ks),
        ("Brier", result.brier),
    )
    for measure, estimate in measures:
        table.add_row(
            measure, f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}, 95 %)"
        )
    if result.inference is not None:
        _show_inference(table, result.inference)
    table.add_row("mean PD, bad rate", f"{result.mean_pd:.3f}, {result.bad_rate:.3f}")
    Console().print(table)


def _show_inference(table: "Table", told: "Mapping[str, Any]") -> None:
    """Add what was assumed of declined requests, and what a random arm says to it."""
    table.add_row(
        "reject inference",
        f"{told['rows']:,} declined requests; assumed: {told['assumption']}; mean PD of those"
        f" {told['mean_pd_first_model']:.3f}, with the assumption {told['mean_pd_assumed']:.3f}",
    )
    from models.train.reject import MODELS

    arm = told["random_arm"]
    if arm is None:
        table.add_row("random arm", "none: nothing here can tell whether that holds")
        return
    for name in ("bad_rate", *(f"{n}: {m}" for m in ("mean_pd", "auc") for n in MODELS)):
        table.add_row(
            f"random arm, {name.replace('_', ' ')}",
            f"{arm[name]['value']:.3f} ({arm[name]['low']:.3f} to {arm[name]['high']:.3f}, 95 %)",
        )


def _json(result: "TrainingResult") -> str:
    """Return figures of the test rows, and of those out of time, as one line of JSON."""
    import orjson

    return orjson.dumps(
        {
            "folder": str(result.folder),
            "sha256": result.sha256,
            "rows_train": result.rows_train,
            "rows_calibrate": result.rows_calibrate,
            "rows_test": result.rows_test,
            "rows_out_of_time": result.rows_out_of_time,
            "trees": result.trees,
            "auc": result.auc.value,
            "auc_out_of_time": result.auc_out_of_time.value,
            "auc_interval": [result.auc.low, result.auc.high],
            "ks": result.ks.value,
            "ks_interval": [result.ks.low, result.ks.high],
            "brier": result.brier.value,
            "bad_rate": result.bad_rate,
            "mean_pd": result.mean_pd,
            "reject_inference": result.inference,
            f"scores_equal_{result.trainer.lower()}": result.rows_equal_trained
            == result.rows_test + result.rows_out_of_time,
        }
    ).decode()
