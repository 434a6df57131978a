"""A desk at which cases are tried: the step and its naive twin side by side, an event at a time.

The twin must give the same records; so a table holds for both.
"""

import re
from pathlib import Path
from typing import Any

import orjson

from streams.control.records import Share, grant, signed, tick
from streams.deployment import Deployment
from streams.limits import DAY_MS
from streams.schema import Cap, OfferState, Refusal
from streams.topology import OUT_DECISION
from tests.naive.books import Lease, Line, Loan, Offer
from tests.naive.logs import FORGED, GENUINE, START, LogMaker, Row, verify
from tests.naive.records import hex_of
from tests.naive.run import faults, leases_of, make_step, run_log
from tests.naive.step import NaiveStep

_UNITS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": DAY_MS}


def read_table(name: str) -> list[dict[str, str]]:
    """Return the rows of a text table beside this file, by column; `#` begins a remark."""
    text = (Path(__file__).parent / name).read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    head, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    assert all(len(row) == len(head) for row in rows), [r for r in rows if len(r) != len(head)]
    return [dict(zip(head, row, strict=True)) for row in rows]


def span_ms(text: str) -> int:
    """Return a span such as `-7d-1ms` or `+5min` in milliseconds."""
    parts = re.findall(r"([+-])(\d+)(ms|min|s|h|d)", text)
    assert "".join("".join(part) for part in parts) == text, text
    return sum(int(sign + count) * _UNITS[unit] for sign, count, unit in parts)


class Desk:
    """A partition that has started, with a grant of `lease` cents on every cap; applicants `gina`
    and `hans` live here, `ann` in the other partition.

    `twin`: hold the step to its naive twin; not where a table runs full, since dicts never do.
    """

    def __init__(
        self, deployment: Deployment, lease: int = 10_000_000, *, twin: bool = True
    ) -> None:
        self.step = make_step(deployment)
        self.twin = NaiveStep(deployment, LogMaker.partition, LogMaker.partitions, verify)
        self.deployment, self.holds_to_twin = deployment, twin
        self.log: list[Row] = []
        self.decision: dict[str, Any] = {}  # the last one
        if lease:
            for institution in deployment.institution_ids:
                for cap in Cap:
                    self.control(self.grant_of(institution, cap, lease))
            self.tick(START)

    @property
    def now(self) -> int:
        """Partition time."""
        return self.twin.books.time or START

    def put(self, key: bytes | None, value: bytes | None) -> str:
        """Hand in one record; hold the step to its twin; return its refusal, or `ok`."""
        self.log.append(Row(key, value))
        offset = len(self.log) - 1
        found = run_log(self.step, self.log, 1, first=offset)
        wanted = self.twin.take(offset, key, value)
        assert found == wanted or not self.holds_to_twin
        assert not list(faults(self.step))
        for record in found:
            if record.topic == OUT_DECISION:
                self.decision = orjson.loads(record.value)
        refusal = Refusal(int(self.step.batch.events[0]["refusal"]))
        letters = [record.refusal for record in found if record.refusal]
        assert letters == ([refusal] if refusal not in {Refusal.NONE, Refusal.DUPLICATE} else [])
        return refusal.name.lower() if refusal else "ok"

    def send(self, type: str, applicant: str = "gina", **fields: Any) -> str:
        """Hand in an event of an applicant; return its refusal, or `ok`. What it says of a loan or
        line of ours bears `signature`, or none where that is None.

        `at` is a span from partition time on; `key` replaces the record's key; a field that is None
        is left out.
        """
        at = self.now + span_ms(fields.pop("at", ""))
        key = fields.pop("key", applicant)
        signature: bytes | None = fields.pop("signature", GENUINE)
        event = {"type": type, "id": f"e{len(self.log)}", "applicant": applicant, "at": at} | fields
        value = orjson.dumps({name: v for name, v in event.items() if v is not None})
        if event.get("issuer") in self.deployment.institution_ids and signature is not None:
            given = signature
            value = signed(value, lambda _: given)
        return self.put(None if key is None else key.encode(), value)

    def control(self, record: bytes, signature: bytes = GENUINE) -> str:
        """Hand in a control event."""
        return self.put(None, signed(record, lambda _: signature))

    def forge(self, record: bytes) -> str:
        """Hand in a control event that somebody else signed."""
        return self.control(record, FORGED)

    def tick(self, at: int) -> str:
        """Hand in the next tick."""
        return self.control(tick(LogMaker.partition, self.twin.books.seq + 1, at))

    def wait(self, span: str) -> str:
        """Let partition time go on."""
        return self.tick(self.now + span_ms(span))

    def grant_of(self, institution: str, cap: Cap, amount: int) -> bytes:
        """Return the next grant."""
        share = Share(institution, cap, amount)
        return grant(LogMaker.partition, self.twin.books.seq + 1, share)

    def grant(self, institution: str, cap: Cap, amount: int) -> str:
        """Hand in the next grant."""
        return self.control(self.grant_of(institution, cap, amount))

    def recall(self, institution: str, cap: Cap, amount: int) -> str:
        """Hand in the next recall."""
        record = self.grant_of(institution, cap, amount)
        return self.control(record.replace(b'"grant"', b'"recall"'))

    # --- what stands now
    def apply(
        self, product: str = "instalment_loan", applicant: str = "gina", **fields: Any
    ) -> str:
        """Apply for 2,000.00 over 30 days through the app; return the decision's id."""
        usual = {"channel": "app", "amount_cents": 200_000, "tenor_days": 30, "age_years": 30}
        assert self.send("application", applicant, product=product, **(usual | fields)) == "ok"
        return str(self.decision["id"])

    def offer(self, decision: str) -> Offer | None:
        """Return the offer of a decision, None where no row is left."""
        offers = {hex_of(id): offer for id, offer in self.twin.books.offers.items()}
        self._check_states(decision, offers.get(decision))
        return offers.get(decision)

    def _check_states(self, decision: str, offer: Offer | None) -> None:
        """The step's own row is in the state of the twin's."""
        rows = self.step.core.state.offers
        mine = rows[(rows["hi"] == int(decision[:16], 16)) & (rows["lo"] == int(decision[16:], 16))]
        states = [OfferState(state) for state in mine["state"] if state != OfferState.FREE]
        assert states == ([offer.state] if offer else [])

    def line(self, decision: str) -> Line:
        """Return the line of a decision."""
        line = next(x for x in self.twin.books.lines.values() if hex_of(x.id) == decision)
        rows = self.step.core.state.lines
        row = rows[(rows["hi"] == line.id[0]) & (rows["lo"] == line.id[1])][0]
        found = row["state"], row["limit_cents"], row["available_cents"], row["committed_cents"]
        wanted = line.state, line.limit, self.twin.books.available(line), line.committed
        assert found == wanted
        return line

    def loan(self) -> Loan:
        """Return the loan that began last."""
        return list(self.twin.books.loans.values())[-1]

    def lease(self, institution: str, cap: Cap) -> Lease:
        """Return a lease of the step."""
        return leases_of(self.step)[self.deployment.institution_ids.index(institution), int(cap)]
