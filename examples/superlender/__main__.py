"""A real lender's history through Apache Kafka: `make superlender`, or
`python -m examples.superlender`.

1. Convert the history to events and labels. 2. Train on the first 70 % of July's applications by
time, and put the model into a copy of the deployment beside this file. 3. Decide the whole log
through Kafka: `dipper control --clock file`, one `dipper live`, `dipper publish`. 4. Measure what
stands on Kafka on the last 30 %, which training has not seen. 5. Replay the topic and the file, and
compare all three byte for byte.

Exit code 0; 1 where bytes differ or a decision is missing or twice; 2 where the run cannot be done.
"""

import asyncio
import logging
import os
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from examples.superlender.convert import DataError, convert
from examples.superlender.kafka import decide, read_values
from examples.superlender.measure import MODEL, Figures, figures, same_files
from models.errors import ModelError
from models.train import TrainingResult
from models.train.dataset import read_labels
from models.train.log import train_on_log
from streams import frames
from streams.broker.kafka import KafkaBroker
from streams.config import load_deployment
from streams.control.keys import init_keys
from streams.dump import dump_topics
from streams.errors import DipperError
from streams.evidence import read_evidence
from streams.replay import replay
from streams.topology import DEAD_LETTERS, DECISIONS, EVIDENCE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TRAIN_SHARE, CALIBRATE_SHARE = 0.55, 0.15  # together the first 70 %; both inside training
HISTORY = "events.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Run:
    """What a run has shown."""

    trained: TrainingResult
    live: Figures
    identical: bool
    files: int
    bytes: int


def prepare(data: Path, folder: Path) -> TrainingResult:
    """Write events, labels and a deployment with its trained model and keys to `folder`."""
    done = convert(data, folder)
    print(
        f"history: {done.events:,} events ({done.applications:,} applications), {done.ticks:,} "
        f"ticks, {done.labels:,} outcomes ({done.bad:,} bad)"
    )
    config = folder / "config"
    shutil.rmtree(config, ignore_errors=True)
    shutil.copytree(HERE / "config", config)
    trained = train_on_log(
        folder / HISTORY,
        folder / "labels.csv",
        config,
        config / "models" / MODEL,
        name=MODEL,
        policies=False,
        fractions=(TRAIN_SHARE, CALIBRATE_SHARE),
    )
    init_keys(config)
    print(
        f"training: the first {trained.rows_train + trained.rows_calibrate:,} applications "
        f"({trained.rows_calibrate:,} of them to stop and calibrate), {trained.features} features, "
        f"{trained.trees} trees"
    )
    return trained


def run(data: Path, folder: Path, bootstrap: str) -> Run:
    """Do all five steps on the broker at `bootstrap`; what is written stays in `folder`."""
    trained = prepare(data, folder)
    config = folder / "config"
    deployment = load_deployment(config)
    partitions = deployment.platform.partitions
    labels = read_labels(folder / "labels.csv")
    started = time.monotonic()
    decide(bootstrap, config, folder / HISTORY, partitions, folder / "logs")
    print(
        f"decided through Kafka at {bootstrap}: {partitions} partitions, "
        f"{time.monotonic() - started:.0f} s with the worker's start"
    )
    dumps = [folder / name for name in ("live", "topic", "file")]
    for each in dumps:
        shutil.rmtree(each, ignore_errors=True)
    asyncio.run(dump_topics(bootstrap, dumps[0], partitions))
    decisions = asyncio.run(read_values(bootstrap, DECISIONS, partitions))
    evidence = asyncio.run(read_values(bootstrap, EVIDENCE, partitions))
    live = figures(
        frames.read_lines(b"\n".join(decisions), frames.DECISIONS),
        read_evidence(b"".join(evidence), deployment),
        labels,
        trained.test_from_ms,
        len(asyncio.run(read_values(bootstrap, DEAD_LETTERS, partitions))),
    )
    replay(f"kafka://{bootstrap}", deployment, dump=dumps[1])
    replay(folder / HISTORY, deployment, partitions=partitions, dump=dumps[2])
    return Run(trained, live, *same_files(*dumps))


def tell(done: Run) -> None:
    """Print what a run has shown."""
    live, day = done.live, datetime.fromtimestamp(done.trained.test_from_ms / 1000, UTC).date()
    outcomes = ", ".join(f"{name} {count:,}" for name, count in live.outcomes_test.items())
    funded = ", ".join(f"{name} {count:,}" for name, count in live.funded_test.items())
    print(
        f"decided: {live.decided:,} applications, {live.lost} lost, {live.duplicated} twice, "
        f"{live.dead_letters} dead letters\n"
        f"\nthe last 30 %: {live.test_rows:,} applications from {day} on, "
        f"{live.bad_rate:.1%} bad, mean PD {live.mean_pd:.1%}\n"
        f"  AUC    {live.auc.value:.3f}  (95 %: {live.auc.low:.3f} to {live.auc.high:.3f})\n"
        f"  KS     {live.ks.value:.3f}  (95 %: {live.ks.low:.3f} to {live.ks.high:.3f})\n"
        f"  Brier  {live.brier.value:.3f}  (95 %: {live.brier.low:.3f} to {live.brier.high:.3f})\n"
        f"  approved {live.approved_rate:.1%}, {live.bad_rate_of_approved:.1%} of those bad\n"
        f"  outcomes: {outcomes}\n"
        f"  funded by: {funded}\n"
        "\nThese are repeat borrowers whom the lender chose to lend to again; declined ones are\n"
        "not in the data. The figures say how well the model ranks such borrowers, not newcomers,\n"
        "and nothing of those who were never lent to.\n"
        f"\nlive, replay of the topic and replay of the file: "
        f"{'identical' if done.identical else 'DIFFERENT'} "
        f"({done.files} files, {done.bytes:,} bytes)"
    )


def main(
    broker: Annotated[
        str, typer.Option(help="kafka starts Apache Kafka from Maven jars; or HOST:PORT.")
    ] = "kafka",
    data: Annotated[
        Path | None, typer.Option(help="Folder of the files; default DIPPER_DATA/superlender.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where events, model, decisions and logs go.")] = ROOT
    / ".cache"
    / "superlender",
    summary: Annotated[str, typer.Option(help="json: the last line is one JSON object.")] = "text",
) -> None:
    """Run a real lender's history through Apache Kafka, and replay it."""
    # What a client retries by itself is no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    named = Path(os.environ.get("DIPPER_DATA", ROOT.parent / "shared" / "data")) / "superlender"
    try:
        with ExitStack() as stack:
            bootstrap = broker
            if broker == "kafka":
                bootstrap = stack.enter_context(KafkaBroker()).bootstrap
            done = run(data or named, folder, bootstrap)
    except (DataError, DipperError, ModelError) as error:
        print(f"superlender: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    tell(done)
    if summary == "json":
        told = {"identical": done.identical, "files": done.files, "bytes": done.bytes}
        print(orjson.dumps(asdict(done.live) | told).decode())
    raise typer.Exit(int(not done.identical or done.live.lost + done.live.duplicated > 0))


if __name__ == "__main__":
    typer.run(main)
