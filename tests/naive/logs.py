"""Event logs from a seed: every type of event in every state of offers and loans, and all that a
hostile or clumsy publisher sends.

The naive step reads along, so that answers and loan events can name what stands; what it gives is
kept as what is expected.
"""

import random
from typing import Any, NamedTuple

import orjson
from aiokafka.partitioner import murmur2

from streams.control.records import Command, Share, command, grant, signed, tick
from streams.deployment import Deployment
from streams.limits import AHEAD_MS_MAX, DAY_MS, LATE_MS_MAX, SECOND_MS
from streams.schema import Cap, LineAction, LoanStep, OfferState
from tests.naive.books import Loan
from tests.naive.deployments import versions_of
from tests.naive.records import Record, hex_of
from tests.naive.step import NaiveStep

START = 1_700_000_000_000  # November 2023: the lower legal ceiling comes into force on the way
HOUR_MS = 3_600 * SECOND_MS
FORGED = b"\1" * 64
GENUINE = b"\0" * 64

# What no decoder takes, and what no event may say.
JUNK: list[bytes | None] = [
    None, b"", b" ", b"{", b"{}", b"[]", b"null", b"{\xff}", b'{"type":"tick"}', b"\x00\x01\x02",
    b'{"type":"application","id":"x","applicant":"p0","at":NaN}',
    b'{"type":"application","id":"x","applicant":"p0","at":1.5}',
    b'{"type":"loan","id":7}', b'{"type":"unheard_of","id":"x","applicant":"p0","at":1}',
    b'{"type":"activity","id":"x","applicant":"p0","at":1,"kind":"order","amount_cents":-1}',
    b'{"type":"activity","id":"' + b"i" * 41 + b'","applicant":"p0","at":1,"kind":"order"}',
    b'{"type":"accept","id":"x","applicant":"p0","at":1700000000000,"decision":"nonsense"}',
]  # fmt: skip


class Row(NamedTuple):
    """One record of a log; its offset is its place."""

    key: bytes | None
    value: bytes | None


def verify(partition: int, record: bytes, offset: int) -> bool:
    """Say whether a record bears the signature that these logs call good."""
    return b'"signature":"AAAA' in record


class LogMaker:
    """Makes a log from a seed; `log`, and `expected`: the records that each row gives."""

    partition, partitions = 1, 2

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self.random = random.Random(seed)
        self.dice = random.Random(seed)  # of its own: a row more changes no later one
        self._aside = random.Random(f"lines {seed}")  # so that the rest of a log stays as it was
        self.deployment = deployment
        self.step = NaiveStep(deployment, self.partition, self.partitions, verify)
        self.log: list[Row] = []
        self.expected: list[list[Record]] = []
        # Each loan that was begun, by applicant, issuer and name.
        self.loans: list[tuple[dict[str, Any], Loan]] = []
        self.number = 0
        names = ["p{}", "öl-{}", 'a"{}', "北京{}", "{}" + "z" * 37, "back\\{}"]
        candidates = [name.format(n) for n in range(9) for name in names]
        here = [name for name in candidates if self._partition_of(name) == self.partition]
        self.people = here[: self.random.choice([2, 4, 9])]
        self.strangers = [name for name in candidates if name not in here][:2]

    @staticmethod
    def _partition_of(applicant: str) -> int:
        return (murmur2(applicant.encode()) & 0x7FFFFFFF) % LogMaker.partitions

    @property
    def now(self) -> int:
        """Partition time."""
        return self.step.books.time or START

    def put(self, key: bytes | None, value: bytes | None) -> list[Record]:
        """Append one record and return what it gives."""
        self.expected.append(self.step.take(len(self.log), key, value))
        self.log.append(Row(key, value))
        return self.expected[-1]

    def event(self, type: str, applicant: str, at: int, **fields: Any) -> dict[str, Any]:
        """Put a well-formed event of an applicant, with an id of its own; return it."""
        self.number += 1
        event = {"type": type, "id": f"e{self.number}", "applicant": applicant, "at": at, **fields}
        value = orjson.dumps(event)
        if fields.get("issuer") in self.deployment.institution_ids:
            # What moves our money is signed by control; now and then somebody tries without.
            signature = GENUINE if self.random.random() < 0.97 else FORGED
            value = signed(value, lambda _: signature)
        self.put(applicant.encode(), value)
        return event

    def control(self, record: bytes, signature: bytes = GENUINE) -> None:
        """Put a control event with that signature."""
        self.put(None, signed(record, lambda _: signature))

    def tick(self, at: int) -> None:
        """Put the next tick."""
        self.control(tick(self.partition, self.step.books.seq + 1, at))

    def grant(self, institution: str, cap: Cap, amount: int, recall: bool = False) -> None:
        """Put the next grant, or a recall of as much."""
        share = Share(institution, cap, amount)
        record = grant(self.partition, self.step.books.seq + 1, share)
        self.control(record.replace(b'"grant"', b'"recall"') if recall else record)

    @property
    def refused(self) -> bool:
        """Whether the last row counted for nothing."""
        return any(record.refusal for record in self.expected[-1])

    # --- chance
    def make(self, rows: int) -> "LogMaker":
        """Append that many rows, and begin with grants and a tick."""
        for _ in range(self.random.choice([0, 3])):
            self._any()
        for institution in self.deployment.institution_ids:
            for cap in Cap:
                self.grant(institution, cap, self.random.choice([50_000, 400_000, 5_000_000]))
        self.tick(START)
        while len(self.log) < rows:
            self._any()
        return self

    def _any(self) -> None:
        states = {offer.state for offer in self.step.books.offers.values()}
        answers = 16 if OfferState.OFFERED in states else 2
        loans = 16 if OfferState.ACCEPTED in states else 2
        weights = {
            self._tick: 8, self._application: 14, self._drawdown: 10, self._answer: answers,
            self._own_loan: loans, self._loan_step: 20, self._foreign_loan: 3, self._activity: 14,
            self._signal: 5, self._lease: 3, self._repeat: 5, self._junk: 4, self._misplaced: 3,
            self._bad_control: 2, self._command: 2,
        }  # fmt: skip
        self.random.choices(list(weights), list(weights.values()))[0]()
        if self._aside.random() < 0.04:
            usual, self.random = self.random, self._aside
            self._line_event()
            self.random = usual

    def _at(self) -> int:
        usual = self.now - self.random.choice([0, 0, 1, 20 * SECOND_MS, HOUR_MS])
        edges = [
            self.now + AHEAD_MS_MAX, self.now + AHEAD_MS_MAX + 1, self.now - LATE_MS_MAX,
            self.now - LATE_MS_MAX - 1, self.now - 3 * DAY_MS,
        ]  # fmt: skip
        return usual if self.random.random() < 0.9 else self.random.choice(edges)

    def _tick(self) -> None:
        steps = [0, 1, 60 * SECOND_MS, HOUR_MS, HOUR_MS, 5 * HOUR_MS, DAY_MS]
        steps += [3 * DAY_MS, 8 * DAY_MS, 40 * DAY_MS] if self.random.random() < 0.2 else []
        steps = [900 * DAY_MS] if self.random.random() < 0.01 else steps
        self.tick(self.now + self.random.choice(steps))

    def _application(self) -> None:
        choice = self.random.choice
        given = {
            "age_years": choice([17, 18, 30.5, 45, 66]),
            "income_cents": choice([0, 40_000, 250_000]),
            "existing_debt_cents": choice([0, 100_000]),
            "region": choice(["north", "south", "west", "nowhere"]),
        }
        self.event(
            "application",
            choice(self.people),
            self._at(),
            product=choice(["cash_line", "cash_line", "instalment_loan", "invoice_loan"]),
            channel=choice(["app", "app", "web", "north_card"]),
            amount_cents=choice([999, 1_000, 30_000, 100_001, 250_000, 350_000, 900_000]),
            tenor_days=choice([30, 30, 30, 30, 90, 90, 360, 7]),
            **{name: value for name, value in given.items() if self.random.random() < 0.7},
            **self._tokens(),
        )

    def _tokens(self) -> dict[str, Any]:
        """Return what a request tells of device, phone and document, where lists are asked."""
        if not self.deployment.policies.lists:
            return {}
        device = self.random.choice(["d0", "d1", "d2", "d3", "d4", "", "d5", "d6"])
        phone = self.random.choice(["f0", "f1", "北", "f2", "f3", "f4", "f5", "f6", "f7", "d0"])
        given = {"device": device, "phone": phone, "id_doc": "d2", "bank_account": "d1"}
        return {name: value for name, value in given.items() if self.random.random() < 0.5}

    def _drawdown(self) -> None:
        lines = list(self.step.books.lines.values())
        who, line = self.random.choice(self.people), self.random.choice(["nonsense", "ab" * 16])
        if lines and self.random.random() < 0.95:
            known = self.random.choice(lines)
            line = hex_of(known.id)
            if self.random.random() < 0.9:
                who = known.applicant.decode()
        self.event(
            "drawdown",
            who,
            self._at(),
            line=line,
            amount_cents=self.random.choice([100, 900, 5_000, 20_000, 60_000, 200_000, 450_000]),
            tenor_days=self.random.choice([30, 30, 90, 90, 7]),
            merchant="shop",
            **self._tokens(),
        )

    def _named(self, wanted: OfferState) -> tuple[str, str, str]:
        """Return applicant, decision and institution of an offer, mostly in the state wanted."""
        offers = list(self.step.books.offers.values())
        fitting = [offer for offer in offers if offer.state is wanted]
        if not offers or self.random.random() < 0.03:
            return self.random.choice(self.people), "cd" * 16, "dawn"
        usual = bool(fitting) and self.random.random() < 0.85
        offer = self.random.choice(fitting if usual else offers)
        usual = self.random.random() < 0.95
        who = offer.applicant.decode() if usual else self.random.choice(self.people)
        ids = self.deployment.institution_ids
        usual = self.random.random() < 0.95
        issuer = ids[offer.institution] if usual else self.random.choice(ids)
        return who, hex_of(offer.id), issuer

    def _answer(self) -> None:
        who, decision, _ = self._named(OfferState.OFFERED)
        kind = self.random.choice(["accept", "accept", "accept", "cancel"])
        self.event(kind, who, self._at(), decision=decision)

    def _own_loan(self) -> None:
        who, decision, issuer = self._named(OfferState.ACCEPTED)
        offers = [o for o in self.step.books.offers.values() if hex_of(o.id) == decision]
        amount = offers[0].amount if offers else 1_000
        step = self.random.choice(["disbursed", "disbursed", "disbursed", "disburse_failed"])
        loan = f"L{self.number}"
        if self.loans and self.random.random() < 0.05:
            loan = self.random.choice(self.loans)[0]["loan"]
        self.event(
            "loan",
            who,
            self._at() - self.random.choice([0, 0, 30 * DAY_MS]),
            step=step,
            decision=decision,
            issuer=issuer,
            loan=loan,
            principal_cents=self.random.choice([amount, amount, amount // 3 + 1, amount + 1, 0]),
        )
        self._note_loan({"applicant": who, "issuer": issuer, "loan": loan}, step)

    def _foreign_loan(self) -> None:
        who = self.random.choice(self.people)
        names = {"loan": f"F{self.number}"}
        if self.random.random() < 0.5:
            names["issuer"] = "elsewhere"
        at = self._at() - self.random.choice([0, DAY_MS, 400 * DAY_MS])
        principal = self.random.choice([0, 70_000])
        self.event("loan", who, at, step="disbursed", principal_cents=principal, **names)
        self._note_loan({"applicant": who, **names}, "disbursed")

    def _note_loan(self, names: dict[str, Any], step: str) -> None:
        if step == "disbursed" and not self.refused:
            self.loans.append((names, list(self.step.books.loans.values())[-1]))

    def _loan_step(self) -> None:
        if not self.loans:
            return
        ours = [row for row in self.loans if row[1].institution >= 0][-6:]
        some = ours if ours and self.random.random() < 0.7 else self.loans[-6:]
        names, loan = self.random.choice(some)
        back = loan.principal - loan.outstanding
        steps = [step.name.lower() for step in LoanStep]
        usual = ["due", "due", "payment", "payment", "reversal" if back else "due"]
        usual += ["closed"] if loan.outstanding == 0 or self.random.random() < 0.1 else ["payment"]
        odd = self.random.random() < 0.1
        step = self.random.choice(steps if odd else usual)
        at = self._at() - self.random.choice([0, 0, 0, 10 * DAY_MS])
        amounts = [loan.outstanding, loan.outstanding, loan.outstanding // 2, 1, 0]
        if step == "reversal":
            amounts = [back, back, back // 2]
        if odd:
            amounts = [loan.outstanding + 5, back + 1]
        fields: dict[str, Any] = {
            "principal_cents": self.random.choice(amounts),
            "interest_cents": self.random.choice([0, 0, 300]) if step != "reversal" else 0,
            "penalty_cents": self.random.choice([0, 0, 7]) if step != "reversal" else 0,
        }
        if step == "due":
            fields["due_at"] = at + self.random.choice([-40 * DAY_MS, -DAY_MS, 0, 30 * DAY_MS])
        if step in {"disbursed", "disburse_failed"}:
            fields["decision"] = "cd" * 16
        rest = {name: value for name, value in names.items() if name != "applicant"}
        self.event("loan", names["applicant"], at, step=step, **rest, **fields)

    def _line_event(self) -> None:
        lines = list(self.step.books.lines.values())
        who, line, limit = self.random.choice(self.people), "ab" * 16, 1_000
        issuer = self.random.choice(self.deployment.institution_ids)
        if lines and self.random.random() < 0.95:
            known = self.random.choice(lines[-4:])
            line, limit = hex_of(known.id), known.limit
            if self.random.random() < 0.95:
                who = known.applicant.decode()
            if self.random.random() < 0.95:
                issuer = self.deployment.institution_ids[known.institution]
        usual = [LineAction.FREEZE, LineAction.UNFREEZE, LineAction.UNFREEZE, LineAction.LIMIT]
        odd = self.random.random() < 0.2
        action = self.random.choice(list(LineAction) if odd else [*usual, LineAction.LIMIT])
        fields: dict[str, Any] = {"line": line, "issuer": issuer, "action": action.name.lower()}
        if action is LineAction.LIMIT:
            limits = [limit, limit // 2 + 1, 2 * limit, limit + 50_000, 1, 9_000_000]
            fields["limit_cents"] = self.random.choice(limits)
        self.event("line", who, self._at(), **fields)

    def _activity(self) -> None:
        kinds = ["order", "order", "refund", "login", "invoice_out", "device_change"]
        at = self._at() - self.random.choice([0, HOUR_MS, DAY_MS, 29 * DAY_MS, 100 * DAY_MS])
        fields: dict[str, Any] = {"kind": self.random.choice(kinds)}
        if self.random.random() < 0.8:
            fields["amount_cents"] = self.random.choice([0, 1, 5_000, 123_456])
        if self.random.random() < 0.5:
            fields["counterparty"] = f"shop-{self.random.randrange(3)}"
        self.event("activity", self.random.choice(self.people), at, **fields)

    def _signal(self) -> None:
        source, name = self.random.choice([("bureau", "score"), ("device", "risk")])
        values = [480, 600, 720.5] if name == "score" else [0.1, 0.2, 0.3, 0.95]
        fields: dict[str, Any] = {"source": source, "name": name}
        status = self.random.choice([None, "ok", "empty", "error"])
        if status:
            fields["status"] = status
        if status in {None, "ok"} or self.random.random() < 0.3:
            fields["value"] = self.random.choice(values)
        at = self._at() - self.random.choice([0, 0, 5 * DAY_MS])
        self.event("signal", self.random.choice(self.people), at, **fields)

    def _lease(self) -> None:
        institution = self.random.choice(self.deployment.institution_ids)
        amount = self.random.choice([0, 10_000, 5_000_000])
        recall = self.random.random() < 0.6
        self.grant(institution, self.random.choice(list(Cap)), amount, recall)
        if self.deployment.segments and self.dice.random() < 0.6:
            self._part(institution)

    def _part(self, institution: str) -> None:
        """Grant or recall a part of a cap by day or segment, now and then of none that there is."""
        caps = [cap for cap in self.deployment.segments if cap.institution == institution]
        segment = self.dice.randrange(len(caps) + 1)
        day = 0
        if segment < len(caps) and caps[segment].daily:
            day = (self.now + caps[segment].day_starts_ms) // DAY_MS
            day += self.dice.choice([0, 0, 0, 0, -1, 1, 2, -9, -20])
        cap = caps[segment].cap if segment < len(caps) else Cap.OUTSTANDING
        ppm = self.dice.choice([1, 1, 50_000, 200_000, 1_000_000])
        share = Share(institution, cap, 0, segment, day, ppm)
        record = grant(self.partition, self.step.books.seq + 1, share)
        recall = self.dice.random() < 0.5
        self.control(record.replace(b'"grant"', b'"recall"') if recall else record)

    def _command(self) -> None:
        """Pause or resume an institution, prepare or activate a version, known or not."""
        told = Command(
            self.random.choice(["pause", "resume", "resume"]),
            self.random.choice(self.deployment.institution_ids),
        )
        if self.random.random() < 0.6:
            known = [self.deployment.version, *versions_of(self.deployment)]
            verb = self.random.choice(["prepare", "activate"])
            told = Command(verb, self.random.choice(known))
            if verb == "activate" and self.random.random() < 0.2:
                told = Command(verb, "5a" * 16)
        self.control(command(self.partition, self.step.books.seq + 1, told))

    def _repeat(self) -> None:
        if self.log:
            self.put(*self.random.choice(self.log[-60:]))

    def _junk(self) -> None:
        value = self.random.choice(JUNK)
        if self.log and self.random.random() < 0.4:
            faulty = bytearray(self.random.choice(self.log[-20:]).value or b"-")
            at = self.random.randrange(len(faulty))
            faulty[at : at + self.random.choice([0, 1])] = self.random.randbytes(1)
            value = bytes(faulty)
        self.put(self.random.choice([None, b"", *(p.encode() for p in self.people)]), value)

    def _misplaced(self) -> None:
        fields = {"type": "activity", "id": f"m{len(self.log)}", "at": self.now, "kind": "login"}
        who = self.random.choice(self.people + self.strangers)
        key = self.random.choice([None, b"", who.encode(), b"someone else"])
        self.put(key, orjson.dumps(fields | {"applicant": who}))

    def _bad_control(self) -> None:
        number, seq, at = self.partition, self.step.books.seq, self.now + 1
        genuine = [
            tick(number, seq + 2, at),
            tick(number, max(seq, 1), at),
            tick(number, seq + 1, at - 2),
            tick(1 - number, seq + 1, at),
        ]
        forged = tick(number, seq + 1, at)
        which = self.random.randrange(6)
        if which < len(genuine):
            self.control(genuine[which])
        elif which == len(genuine):
            self.control(forged, FORGED)
        else:
            self.put(None, forged)
