"""`dipper replay`: a file, a log or a topic through the step; or two policies on one past."""

import enum
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.errors import DipperError
from streams.options import note

if TYPE_CHECKING:
    from streams.replay import Progress
    from streams.study.run import Question


Dump = Annotated[
    Path | None,
    typer.Option(help="Folder for the bytes by topic and partition, to compare two runs."),
]
Label = Annotated[Path | None, typer.Option(help="Outcomes: a CSV with applicant,id,bad,known_at.")]
Against = Annotated[
    str | None,
    typer.Option(
        help="The same, for the policy to compare with; or decisions written before:"
        " decisions.jsonl, kafka://HOST:PORT, or LIVE for those beside the log."
    ),
]
Scope = Annotated[
    list[str] | None,
    typer.Option(
        help="Only these requests: from=2026-01-31, to=…, product=…, channel=…,"
        " institution=…, FEATURE=…; repeat for more."
    ),
]
WhatIf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=N,N,…",
        help="Try B otherwise: cut_off_ppm=100000,150000 (the name may be left out),"
        " rate_bps=-100,100 on every rate, cap_bps=5000,20000 of every budget; repeat: each with"
        " each.",
    ),
]
Group = Annotated[
    list[str] | None,
    typer.Option(help="Declared group for fairness: a category, or NUMBER:CUT; repeat."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


_SHOWN = 10  # of the requests that differ from decisions written before


class Summary(enum.StrEnum):
    """How the result is told."""

    text = "text"
    json = "json"


class Mode(enum.StrEnum):
    """How the other side is asked; `streams.study.compare.Mode` says what each means."""

    frozen = "frozen"
    closed = "closed"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper replay events.jsonl.gz --config examples/policies --out decided;"
        " dipper replay events.jsonl.gz --policy examples/policies --against mine"
        " --label labels.csv --report report.html"
    )(replay)


def replay(
    source: Annotated[
        str,
        typer.Argument(help="JSON Lines (.gz too), Parquet, or kafka://HOST:PORT/TOPIC."),
    ],
    config: Annotated[Path | None, typer.Option(help="Folder of the deployment.")] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="Deployment, institution's folder or policy file, laid over --config."),
    ] = None,
    against: Against = None,
    model: Annotated[
        list[Path] | None, typer.Option(help="Model folder for --against, in place of its like.")
    ] = None,
    mode: Annotated[
        Mode, typer.Option(help="frozen: B on A's state; closed: B with its own consequences.")
    ] = Mode.frozen,
    label: Label = None,
    report: Annotated[Path | None, typer.Option(help="HTML page to write; needs no net.")] = None,
    what_if: WhatIf = None,
    scope: Scope = None,
    group: Group = None,
    economics: Annotated[
        str, typer.Option(help="lgd_bps=…,funding_bps=…,service_fee_bps=… for profit and loss.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for decisions, evidence, funding, dead letters.")
    ] = None,
    partitions: Annotated[
        int, typer.Option(min=0, help="How many; 0: one for a file, those of a log as they are.")
    ] = 0,
    dump: Dump = None,
    quiet: Quiet = False,
    summary: Annotated[
        Summary, typer.Option(help="json: the last line is one JSON object.")
    ] = Summary.text,
) -> None:
    """Decide a file or log offline: the same bytes as live, on no network, by no clock.

    With --against, decide it by two policies and tell every difference, its cause, and what it
    costs or earns; or tell how it differs from decisions that were written before.
    """
    first = policy or config
    if first is None:
        raise DipperError("replay: name the deployment with --config, or a policy with --policy")
    as_json = summary is Summary.json
    if against is None and report is None:
        _decide(source, first, config, partitions, out, dump, quiet=quiet, as_json=as_json)
        return
    from streams.study.recorded import names_decisions
    from streams.study.run import Question

    question = Question(
        source=source, policy=first, against=against or str(first), config=config,
        models=tuple(model or ()), mode=mode.value, labels=label, report=report,
        what_if=tuple(what_if or ()), scope=tuple(scope or ()), groups=tuple(group or ()),
        economics=economics, partitions=partitions or None,
    )  # fmt: skip
    if against is not None and names_decisions(against):
        if model:
            raise DipperError("replay: --model takes the place of a policy's, not of decisions'")
        _recorded(question, quiet=quiet, as_json=as_json)
        return
    _study(question, quiet=quiet, as_json=as_json)


def _decide(
    source: str,
    policy: Path,
    config: Path | None,
    partitions: int,
    out: Path | None,
    dump: Path | None,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    import time

    import orjson

    from streams import replay as door
    from streams.study.deployments import deployment_folder

    # `replay` refuses a folder that is no deployment in its own words.
    whole = config is None or config == policy
    started = time.monotonic()
    with progress(f"replay {source}", quiet=quiet) as show:
        count = partitions or None
        if whole:
            result = door.replay(
                source, policy, partitions=count, out=out, dump=dump, on_progress=show
            )
        else:
            with deployment_folder(policy, config) as folder:
                result = door.replay(
                    source, folder, partitions=count, out=out, dump=dump, on_progress=show
                )
    seconds = time.monotonic() - started
    decisions, _, funding, dead_letters = result.written
    typer.echo(
        f"read {result.records} records: {decisions} decisions, {funding} funding records, "
        f"{dead_letters} dead letters"
    )
    for remark in result.remarks():
        note(remark)
    if as_json:
        figures = {
            "events": result.records,
            "events_per_second": round(result.records / max(seconds, 1e-9)),
            "decisions": decisions,
            "funding": funding,
            "dead_letters": dead_letters,
            "refused": dict(result.refused),
            "out_of_order": result.late,
        }
        typer.echo(orjson.dumps(figures).decode())


def _recorded(question: "Question", *, quiet: bool, as_json: bool) -> None:
    import orjson

    from streams.study.recorded import flipped
    from streams.study.run import study_beside

    with progress(f"replay {question.source}", quiet=quiet) as show:
        beside, figures = study_beside(question, on_progress=show)
    for remark in beside.remarks:
        note(remark)
    typer.echo(
        f"{figures['requests']:,} requests: {figures['same']:,} answers are the same, "
        f"{figures['different']:,} differ"
    )
    for verdict, count in figures["verdicts"].items():
        typer.echo(f"{count:>9,}  {verdict}")
    for name, told in figures["bad_rates"].items():
        bad = f", bad {told['bad_rate']:.1%} of {told['known']:,} known" if told["known"] else ""
        typer.echo(f"{figures['swap'][name]:>9,}  approved by {name.replace('_', ' ')}{bad}")
    for row in flipped(beside.rows).head(_SHOWN).iter_rows(named=True):
        was, is_ = (
            " ".join(filter(None, (row[f"{side}_outcome"], row[f"{side}_institution"])))
            or "no decision"
            for side in ("before", "after")
        )
        typer.echo(f"{row['applicant']} {row['request']}: {was}, now {is_} ({row['verdict']})")
    if question.report is not None:
        typer.echo(f"report: {figures['report']} ({figures['report_bytes'] / 1e6:.1f} MB)")
    if as_json:
        typer.echo(orjson.dumps(figures).decode())


def _study(question: "Question", *, quiet: bool, as_json: bool) -> None:
    import orjson

    from streams.study.run import study

    with progress(f"replay {question.source}", quiet=quiet) as show:
        figures = study(question, on_progress=show)
    for remark in figures["remarks"]:
        note(remark)
    _show(figures)
    if as_json:
        typer.echo(orjson.dumps(figures).decode())


def _show(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "", title="two policies on one past", show_header=False)
    swap = figures["swap"]
    causes = ", ".join(f"{name} {count:,}" for name, count in figures["causes"].items()) or "–"
    for name, value in (
        ("requests", f"{figures['requests']:,} in {figures['events']:,} events"),
        ("speed", f"{figures['events_per_second']:,} events a second, {figures['seconds']} s"),
        ("mode", figures["mode"]),
        ("approved before", f"{figures['approval_rate_before']:.1%}"),
        ("approved after", f"{figures['approval_rate_after']:.1%}"),
        ("both, neither", f"{swap['both']:,}, {swap['neither']:,}"),
        ("only old, only new", f"{swap['only_old']:,}, {swap['only_new']:,}"),
        ("different, by cause", f"{figures['different']:,}: {causes}"),
        ("bad rate of swap-ins", _rate(figures["swap_in_bad_rate"])),
    ):  # fmt: skip
        table.add_row(name, value)
    console = Console()
    console.print(table)
    if figures.get("report"):
        console.print(f"report: {figures['report']} ({figures['report_bytes'] / 1e6:.1f} MB)")


def _rate(rate: Any) -> str:
    if isinstance(rate, str):
        return rate
    return f"{rate['value']:.1%} ({rate['low']:.1%} to {rate['high']:.1%}, 95 %, estimated)"


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Callable[["Progress"], None]]:
    """Give what a replay tells its progress to, shown as a bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task(title, total=None, records=0)

        def show(done: "Progress") -> None:
            bar.update(
                task,
                total=done.size_bytes or None,
                completed=done.read_bytes,
                records=done.records,
            )

        yield show
