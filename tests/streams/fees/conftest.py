"""Two months of lending as a log, decided once: what statements are made of."""

from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from streams.config import load_deployment
from streams.fees.book import Book, book_of_replay
from streams.limits import DAY_MS
from streams.replay import ReplayResult, replay
from tests.deployment import make_deployment
from tests.streams.lives import LIMITS, START, write_lives

HOUR_MS = 3_600_000


class Month(NamedTuple):
    """A deployment, its log as a file, the replay of it and the book of that."""

    config: Path
    events: Path
    result: ReplayResult
    book: Book


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    """Write a day of requests and what becomes of the loans in January and February 2026: interest,
    refunds early and late, a reversal, repeats, and events that are refused.
    """
    folder = tmp_path_factory.mktemp("fees")
    config, events = make_deployment(folder / "config", LIMITS), folder / "events.jsonl"
    deployment = load_deployment(config)
    write_lives(events, deployment)
    lines = events.read_bytes().splitlines()
    # Principal that was paid back at once can be neither refunded nor paid again.
    lines = [each for each in lines if not (_ours(each) and b'"payment"' in each)]
    opened = [orjson.loads(each) for each in lines if _ours(each) and b'"disbursed"' in each]
    later = [
        event
        for number, loan in enumerate({each["loan"]: each for each in opened}.values())
        for event in _life(number, loan)
    ]
    at = START + 9 * DAY_MS
    for event in sorted(later, key=lambda each: each["at"]):
        while event["at"] > at:
            at += DAY_MS
            lines.append(orjson.dumps({"type": "tick", "at": at}))
        lines.append(orjson.dumps(event))
    events.write_bytes(b"\n".join(lines) + b"\n")
    result = replay(events, deployment, partitions=2)
    return Month(config, events, result, book_of_replay(result, events, 2))


def _ours(line: bytes) -> bool:
    return line.startswith(b'{"type":"loan"') and b'"decision"' in line


def _life(number: int, loan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what becomes of one loan; in Shanghai February begins eight hours before UTC's."""
    base = {name: loan[name] for name in ("type", "applicant", "loan", "issuer")}
    principal = loan["principal_cents"]

    def step(name: str, day: float, part: float, interest: int) -> dict[str, Any]:
        money = {"principal_cents": int(principal * part), "interest_cents": interest}
        id = f"f{number}-{name}-{day}"
        return base | {"id": id, "step": name, "at": START + int(day * DAY_MS)} | money

    border = 31 - 5 / 24  # still January in UTC, February in Shanghai
    paid = step("payment", 12 + number % 3, 0.1, 1_234 + number)
    events = [
        paid,
        paid,  # a repeat counts once
        step("payment", border, 0.1, 777 + number),
        step("payment", 45, 0.1, 3_333),
        step("payment", 46, 5.0, 99_999),  # more than is owed: refused, and counts for nothing
    ]
    if number % 2:
        events += [step("refund", 11, 0.3337, 11), step("refund", 36, 0.1113, 0)]
    else:
        events += [step("refund", 13.5, 0.2221, 0), step("reversal", 47, 0.05, 555)]
    return events
