"""A short history with everything in it: requests, offers taken and left, draws, loans, hostile
input.
"""

from pathlib import Path
from typing import Any

import orjson

from streams.deployment import Deployment
from streams.limits import DAY_MS
from streams.replay import replay
from streams.simulate.log import TICK_MS, write_log
from streams.simulate.world import WorldConfig

START = 1_767_225_600_000  # 2026-01-01
# Small tables: memory is touched in milliseconds, and a few hundred applicants fit.
LIMITS = """\
applicants = 1_024
pages = 4_096
ids = 16_384
lines = 1_024
loans = 1_024
dues = 4_096
offers = 4_096
timers = 16_384
"""


def write_lives(path: Path, deployment: Deployment, applicants: int = 150) -> int:
    """Write a log to `path`, lines of a day as simulated, then what people make of the decisions.

    Returns how many lines it has. Decisions are taken from a replay: their ids, and so the log, do
    not depend on the number of partitions.
    """
    config = WorldConfig(
        applicants=applicants, rate_per_second=applicants * 8 / 86_400, request_share=0.4,
        hostile_share=0.03, seed=3, closed_loop=False, for_file=True,
    )  # fmt: skip
    write_log(config, START, 1.0, path)
    decisions = replay(path, deployment).decisions.to_dicts()
    lines = path.read_bytes().splitlines()
    at = START + DAY_MS
    lines.append(_line({"type": "tick", "at": at + TICK_MS}))
    events = [
        event
        for number, decision in enumerate(decisions)
        if decision["outcome"] == "approved"
        for event in _follow(number, decision, at)
    ]
    lines += [_line(event) for event in events]
    # Offers that nobody answered expire on the ticks of the days after.
    for day in range(1, 8):
        lines.append(_line({"type": "tick", "at": at + TICK_MS + day * DAY_MS}))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return len(lines)


def _line(event: dict[str, Any]) -> bytes:
    return orjson.dumps(event)


def _follow(number: int, decision: dict[str, Any], at: int) -> list[dict[str, Any]]:
    base = {"applicant": decision["applicant"], "at": at + number}
    answer = {"decision": decision["id"]} | base
    if number % 5 == 0:
        return []
    if number % 5 == 1:
        return [{"type": "cancel", "id": f"c{number}"} | answer]
    events = [{"type": "accept", "id": f"a{number}"} | answer]
    if decision["product"].endswith("_line"):
        asked = min(decision["amount_cents"], 20_000 * (number % 4 + 1))
        draw = {"type": "drawdown", "line": decision["id"], "amount_cents": asked}
        events += [draw | {"id": f"d{number}-{k}", "tenor_days": 30} | base for k in range(2)]
    else:
        loan = {"loan": f"L{number}", "decision": decision["id"], "issuer": decision["institution"]}
        amount = {"principal_cents": decision["amount_cents"]}
        steps = ("disbursed", "payment") if number % 2 else ("disburse_failed",)
        events += [
            {"type": "loan", "id": f"l{number}-{step}", "step": step} | loan | amount | base
            for step in steps
        ]
    events.append(events[0])  # every answer comes twice
    return events
