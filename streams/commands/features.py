"""`dipper features`: what each feature says by itself."""

from pathlib import Path
from typing import Annotated

import typer

from streams.errors import DipperError
from streams.options import Events, First, Label, Side, note


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, help="Look at features.", no_args_is_help=True)

    @group.callback()
    def _root() -> None:
        """Look at features: how much they say, how steady they are, whether they say too much."""

    group.command(
        epilog="Example: dipper features describe events.jsonl.gz --label labels.csv"
        " --config examples/policies --first"
    )(describe)
    app.add_typer(group, name="features")


def describe(
    events: Events,
    label: Label,
    config: Annotated[Path, typer.Option(help="Folder of the deployment.")],
    side: Side = None,
    first: First = False,
    out: Annotated[Path | None, typer.Option(help="CSV to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Describe every feature that says something: coverage, information value, AUC alone, PSI, and
    an alarm where it looks like a leak.
    """
    import orjson

    from features.errors import CatalogError
    from models.errors import ModelError
    from models.policy.errors import PolicyError
    from models.train.dataset import catalog_of, dataset, trainable
    from models.train.describe import describe_features

    try:
        frame = dataset(events, label, config, side=side, policies=not first, tell=note)
        names = trainable(frame, catalog_of(config), "platform")
        told = describe_features(frame, sorted({*names, *trainable(frame, catalog_of(config))}))
    except (CatalogError, ModelError, PolicyError, OSError) as error:
        raise DipperError(str(error)) from error
    if out is not None:
        told.write_csv(out)
    if as_json:
        typer.echo(orjson.dumps(told.to_dicts()).decode())
        return
    for row in told.iter_rows(named=True):
        auc = "  –  " if row["auc_alone"] is None else f"{row['auc_alone']:.3f}"
        typer.echo(
            f"{row['feature']:<36} known {row['coverage']:6.1%}  IV {row['iv']:6.3f}  AUC {auc}"
            f"  PSI {row['psi_worst']:6.3f}  {row['alarm']}"
        )
