"""`dipper policy`: check policies and their cases, tell two apart in words and by their impact."""

from pathlib import Path
from typing import Annotated

import typer

from streams.commands.replay import Summary
from streams.errors import DipperError

EXIT_CASES_FAIL = 1


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, help="Look after policies.", no_args_is_help=True)

    @group.callback()
    def _root() -> None:
        """Look after policies."""

    group.command(epilog="Example: dipper policy check examples/policies")(check)
    group.command(epilog="Example: dipper policy diff examples/policies mine")(diff)
    group.command(
        epilog="Example: dipper policy impact examples/policies mine --events events.jsonl.gz"
        " --summary json"
    )(impact)
    app.add_typer(group, name="policy")


def check(
    path: Annotated[
        Path, typer.Argument(help="Folder of a deployment, of an institution, or one of its files.")
    ],
) -> None:
    """Load all policies, run the cases of those under PATH, print how each came out, and what is
    allowed and worth a second look: rules and bands that change nothing.

    Exit code 1 where a case fails, 2 where a file is wrong.
    """
    from features.catalog import load_catalog
    from features.errors import CatalogError
    from models.artifact import load_models
    from models.errors import ModelError
    from models.policy.cases import CaseResult, run_cases
    from models.policy.errors import PolicyError
    from models.policy.loader import read_policies
    from models.policy.notes import notes
    from models.policy.platform import load_institutions, load_platform
    from streams.config import CATALOG_FILE, columns_of, model_folders
    from streams.onboarding.look import concerns, config_folder

    folder = config_folder(path)
    results: list[tuple[str, str, list[CaseResult]]] = []
    worth_a_look: list[str] = []
    try:
        catalog_path = folder / CATALOG_FILE
        catalog = load_catalog(catalog_path if catalog_path.exists() else None)
        _, infos = load_models(model_folders(folder), catalog.columns, catalog.definition_hashes)
        models = {info.name: row for row, info in enumerate(infos)}
        columns = columns_of(catalog)
        platform = load_platform(folder)
        institutions = load_institutions(folder, platform)
        policies = read_policies(folder, platform, institutions, columns, models)
        for row, policy in enumerate(policies.infos):
            if concerns(path, policy.file):
                cases = run_cases(policies, row, platform, columns, models)
                results.append((policy.id, policy.sha256, cases))
                worth_a_look += notes(policies, row)
    except (PolicyError, CatalogError, ModelError) as error:
        raise DipperError(str(error)) from error
    if not results:
        raise DipperError(f"{path}: no policy stands there; name a folder or file of one")
    failed = 0
    for id, sha256, cases in results:
        typer.echo(f"{id}  sha256 {sha256[:16]}  {len(cases)} cases")
        for case in cases:
            failed += bool(case.differences)
            told = "; ".join(case.differences) or ", ".join((case.outcome, *case.reasons))
            typer.echo(f"  {'FAIL' if case.differences else 'ok  '}  {case.case}: {told}")
    for note in worth_a_look:
        typer.echo(f"note  {note}")
    total = sum(len(cases) for _, _, cases in results)
    typer.echo(f"{len(results)} policies, {total} cases, {failed} failed")
    if failed:
        raise typer.Exit(EXIT_CASES_FAIL)


def diff(
    a: Annotated[Path, typer.Argument(help="Deployment, institution's folder or policy file.")],
    b: Annotated[Path, typer.Argument(help="The same, as it is to become.")],
    config: Annotated[
        Path | None, typer.Option(help="Deployment that a part is laid over; default: its own.")
    ] = None,
) -> None:
    """Tell in words what B says otherwise than A: policies, bands, caps, fees, models."""
    from streams.change.words import differences
    from streams.study.deployments import deployment_folder

    with deployment_folder(a, config) as first, deployment_folder(b, config or first) as second:
        found = differences(first, second)
    for item in dict.fromkeys(each.item for each in found):
        typer.echo(item)
        for each in found:
            if each.item == item:
                typer.echo(f"  {each.sentence}")
    typer.echo(f"{len(found)} differences" if found else "no difference")


def impact(
    a: Annotated[Path, typer.Argument(help="Deployment, institution's folder or policy file.")],
    b: Annotated[str, typer.Argument(help="The same, as it is to become.")],
    events: Annotated[
        str, typer.Option(help="JSON Lines (.gz too), Parquet, or kafka://HOST:PORT/TOPIC.")
    ],
    config: Annotated[
        Path | None, typer.Option(help="Deployment that a part is laid over; default: its own.")
    ] = None,
    label: Annotated[
        Path | None, typer.Option(help="Outcomes: a CSV with applicant,id,bad,known_at.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML page to write.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.text,
) -> None:
    """Tell what a change of policy does to who is approved: A decided these events, what of B?

    The same engine as `dipper replay --against`, which tells more.
    """
    import orjson

    from streams.commands.replay import progress
    from streams.study.run import Question, study

    question = Question(
        source=events, policy=a, against=b, config=config, labels=label, report=report
    )
    with progress(f"replay {events}", quiet=quiet) as show:
        figures = study(question, on_progress=show)
    if summary is Summary.json:
        typer.echo(orjson.dumps(figures).decode())
        return
    typer.echo(
        f"{figures['requests']:,} requests: approved {figures['approval_rate_before']:.1%} before,"
        f" {figures['approval_rate_after']:.1%} after; {figures['flipped_to_approve']:,} flip to"
        f" approved, {figures['flipped_to_decline']:,} to declined"
    )
