"""`dipper agents`: the slow lane."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Example: dipper agents --broker 127.0.0.1:9092 --config examples/policies "
        "--metrics-port 9101"
    )(agents)


def agents(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a running broker.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Folder of the deployment: drift, segments and outcomes are watched."),
    ] = None,
    shadow: Annotated[
        Path | None,
        typer.Option(help="Folder of other policies and models: what would they have said?"),
    ] = None,
    metrics_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="Port for /metrics; 0 any free one, -1 none.")
    ] = -1,
    metrics_host: Annotated[str, typer.Option(help="Address for /metrics.")] = "127.0.0.1",
    pace: Annotated[
        float,
        typer.Option(min=1.0, help="Days of a loan in one day of event time: 86400 in a demo."),
    ] = 1.0,
) -> None:
    """Run the Faust agents until Ctrl-C: notices to applicants, and the quality of decisions."""
    import asyncio

    if shadow is not None and config is None:
        raise typer.BadParameter("--shadow is compared with --config; name that, too")
    place = metrics_port, metrics_host
    asyncio.run(_agents(broker, config, shadow, place, pace))


async def _agents(
    broker: str, config: Path | None, shadow: Path | None, place: tuple[int, str], pace: float
) -> None:
    from contextlib import ExitStack

    from monitoring.endpoint import serve_metrics
    from monitoring.logs import start_logs
    from monitoring.quality import AgentCollector, DecisionQuality
    from streams.agents.app import Notifier, reason_notices
    from streams.agents.caught import Caught, last_records
    from streams.agents.quality import QualityAgents
    from streams.agents.run import Agents, run_agents
    from streams.agents.shadow import ShadowAgent
    from streams.broker.client import broker_kind
    from streams.broker.topics import count_partitions
    from streams.config import load_deployment
    from streams.control.keys import load_trusted, verifier
    from streams.reasons.refusals import Reasoner
    from streams.signals import stop_event
    from streams.study.shadow import Shadow
    from streams.topology import EVENTS, EVIDENCE
    from streams.versions import with_versions

    start_logs()
    stop = stop_event()
    kind = await broker_kind(broker)
    await count_partitions(broker)
    notifier = Notifier(broker, kind)
    running: list[Agents] = [notifier]
    folds: list[Caught] = []
    quality = reasons = shadowed = None
    port, host = place
    if config is not None:
        deployment = with_versions(load_deployment(config))
        quality = DecisionQuality(deployment, pace)
        reasons = Notifier(broker, kind, reason_notices(Reasoner(deployment)))
        running.append(reasons)
        verify = verifier(load_trusted(config))
        folds.append(Caught(await last_records(broker, (EVIDENCE, EVENTS))))
        running.append(QualityAgents(broker, kind, quality, verify, folds[-1]))
        if shadow is not None:
            shadowed = Shadow(deployment, load_deployment(shadow, features="all"))
            folds.append(Caught(await last_records(broker, (EVIDENCE,))))
            running.append(ShadowAgent(broker, kind, shadowed, folds[-1]))
    with ExitStack() as stack:
        if port >= 0:
            said = shadowed.counts if shadowed is not None else None
            collector = AgentCollector(
                lambda: notifier.counts, quality, said, lambda: all(fold.up for fold in folds)
            )
            shown = stack.enter_context(serve_metrics(collector, port, host))
            typer.echo(f"metrics on http://{host}:{shown}/metrics")
        typer.echo(f"agents run on {broker}")
        await run_agents(running, stop)
    done = notifier.counts
    typer.echo(
        f"sent {done['sent']} notices, {done['repeated']} repeats left out, {done['unread']} unread"
    )
    if reasons is not None:
        typer.echo(f"sent {reasons.counts['sent']} notices of why a lender refused")
    if shadowed is not None:
        typer.echo(shadowed.table().write_csv(), nl=False)
