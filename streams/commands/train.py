"""`dipper train`: a model from a log and its labels, measured on later rows, as a folder."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.errors import DipperError

if TYPE_CHECKING:
    from models.train import TrainingResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper train events.jsonl.gz --label labels.csv --config examples/policies"
        " --name consumer --side consumer --first"
    )(train)


def train(
    events: Annotated[Path, typer.Argument(help="Events, JSON Lines (.gz) or Parquet.")],
    label: Annotated[Path, typer.Option(help="Outcomes: applicant,id,bad,known_at.")],
    config: Annotated[Path, typer.Option(help="Folder of the deployment.")],
    name: Annotated[str, typer.Option(help="Name of the model, as policies call it.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the model; default CONFIG/models/NAME.")
    ] = None,
    side: Annotated[
        str | None, typer.Option(help="Only requests of this side: consumer or business.")
    ] = None,
    first: Annotated[
        bool, typer.Option("--first", help="Replay without policies: they name no model yet.")
    ] = False,
    as_of: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Only labels known by this day, UTC.")
    ] = None,
    train_share: Annotated[
        float, typer.Option(min=0.05, max=0.9, help="Oldest rows, to learn from.")
    ] = 0.55,
    calibrate_share: Annotated[
        float, typer.Option(min=0.05, max=0.9, help="Next rows, to stop and calibrate on.")
    ] = 0.15,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 1,
) -> None:
    """Train a LightGBM model on features as they were at each request.

    The log is replayed through the step that decides live; rows are split by time into those to
    learn from, those to calibrate on, and those to measure on, which are the newest.
    """
    from rich.console import Console

    from features.errors import CatalogError
    from models.errors import ModelError
    from models.policy.errors import PolicyError
    from models.train import train as fit
    from models.train.dataset import catalog_of, categorical, dataset, trainable

    as_of_ms = None if as_of is None else _day_ms(as_of)
    console = Console(stderr=True)
    try:
        with console.status("replaying the log"):
            frame = dataset(events, label, config, side=side, as_of_ms=as_of_ms, policies=not first)
        catalog = catalog_of(config)
        features = trainable(frame, catalog)
        with console.status(f"training on {frame.height:,} requests, {len(features)} features"):
            result = fit(
                frame,
                features,
                label="bad",
                time="at",
                name=name,
                folder=out or config / "models" / name,
                definition_hashes=catalog.definition_hashes,
                fractions=(train_share, calibrate_share),
                categorical=categorical(catalog, features),
                seed=seed,
            )
    except (CatalogError, ModelError, PolicyError, OSError) as error:
        raise DipperError(str(error)) from error
    _show(result, len(features))


def _day_ms(day: str) -> int:
    try:
        return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000)
    except ValueError as error:
        raise DipperError(f"--as-of {day}: not a day; write it as 2026-01-31") from error


def _show(result: "TrainingResult", features: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "", title=f"{result.folder} ({result.sha256[:16]})", show_header=False)
    table.add_row("rows", f"{result.rows_train:,} to learn from, {result.rows_calibrate:,}"
                  f" to calibrate on, {result.rows_test:,} newest to measure on")  # fmt: skip
    table.add_row("trees, features", f"{result.trees:,}, {features}")
    for measure, estimate in (("AUC", result.auc), ("KS", result.ks), ("Brier", result.brier)):
        table.add_row(
            measure, f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}, 95 %)"
        )
    table.add_row("mean PD, bad rate", f"{result.mean_pd:.3f}, {result.bad_rate:.3f}")
    Console().print(table)
