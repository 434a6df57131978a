"""`dipper model`: the models that stand in folders, one by one and side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer

from streams.errors import DipperError


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, help="Look at models.", no_args_is_help=True)

    @group.callback()
    def _root() -> None:
        """Look at models: what there is, where it comes from, how good it is."""

    group.command("list", epilog="Example: dipper model list examples/policies")(list_)
    group.command(epilog="Example: dipper model show examples/policies/models/consumer")(show)
    group.command(
        epilog="Example: dipper model compare trained/a trained/b",
    )(compare)
    app.add_typer(group, name="model")


def list_(
    roots: Annotated[list[Path], typer.Argument(help="Folders to look in.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List all models under folders; those are live that a policy there names."""
    import orjson

    from models.errors import ModelError
    from models.train.registry import list_models

    try:
        frame = list_models(roots, _named_by_policies(roots))
    except ModelError as error:
        raise DipperError(str(error)) from error
    if as_json:
        typer.echo(orjson.dumps(frame.to_dicts()).decode())
        return
    for row in frame.iter_rows(named=True):
        auc = "–" if row["auc"] is None else f"{row['auc']:.3f}"
        typer.echo(
            f"{row['name']:<20} {row['sha256'][:16]}  {row['kind']:<10} {row['stage']:<9}"
            f" AUC {auc}  {row['features']} features  {row['folder']}"
        )


def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a model.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the card and manifest.")] = False,
) -> None:
    """Show one model: manifest, lineage, and its card where it has one."""
    import orjson

    from models.errors import ModelError
    from models.train.registry import read_entry

    try:
        entry = read_entry(folder)
    except ModelError as error:
        raise DipperError(str(error)) from error
    manifest = entry.manifest.model_dump()
    if as_json:
        told = {"sha256": entry.sha256, "manifest": manifest, "card": entry.card}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    typer.echo(f"{entry.manifest.name}  sha256 {entry.sha256}  {entry.manifest.kind}")
    for group in ("training", "lineage"):
        for name, value in (manifest[group] or {}).items():
            typer.echo(f"  {name}: {value}")
    for row in (entry.card or {}).get("features", [])[:15]:
        typer.echo(f"  {row['shap_mean_abs']:.4f}  {row['feature']}")


def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a model.")],
    b: Annotated[Path, typer.Argument(help="Folder of another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two models: figures, lineage and features.

    Figures of models that learnt from other events are measured on other rows: it is said.
    """
    import orjson

    from models.errors import ModelError
    from models.train.registry import compare_models

    try:
        told = compare_models(a, b)
    except ModelError as error:
        raise DipperError(str(error)) from error
    if as_json:
        typer.echo(orjson.dumps(told).decode())
        return
    _tell(told)


def _tell(told: dict[str, Any]) -> None:
    for name, values in told["figures"].items():
        typer.echo(f"{name:<18} {values[0]!s:<22} {values[1]!s}")
    if not told["comparable"]:
        typer.echo("learnt from other events, so the figures are of other rows: replay both")
    for name in ("lineage_differs", "only_first", "only_second", "defined_otherwise"):
        typer.echo(f"{name.replace('_', ' ')}: {', '.join(told[name]) or '–'}")


def _named_by_policies(roots: list[Path]) -> frozenset[str]:
    """Return the names of models that policy files under the folders use."""
    import tomllib

    named = set()
    for root in roots:
        for path in root.rglob("institutions/*/*.toml"):
            document = tomllib.loads(path.read_text(encoding="utf-8"))
            for section in ("application", "drawdown"):
                if isinstance(document.get(section), dict):
                    named.add(str(document[section].get("model", "")))
    return frozenset(named)
