"""The simulated world: next_events() tells what happens up to a time, on_decision() lets
applicants react.

It has no clock. The same seed, the same times asked and the same decisions give the same bytes;
how the times are cut does not matter where no decision comes in between.
"""

import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from models.policy.price import METHODS, instalments
from streams.limits import DAY_MS, SECOND_MS
from streams.simulate import repayment, truth
from streams.simulate.arrivals import (
    ACTIVITIES,
    ENQUIRY,
    FOREIGN_LOAN,
    KINDS,
    REQUEST,
    Arrival,
    arrivals,
)
from streams.simulate.hostile import Hostile
from streams.simulate.population import attributes, make_population, signals

DRAWDOWN_SHARE = 0.8  # of requests, once lines exist
ENQUIRY_MS = 7 * DAY_MS  # a bureau enquiry is repeated before an application after this time
OTHER_LENDERS = ("other-bank", "other-card", "other-shop", "other-fund")
ACCEPT_SHARE, CANCEL_SHARE = 0.88, 0.08  # of offers; the rest is left to expire
DRAW_CANCEL_SHARE = 0.02
FAILED_SHARE = 0.02  # of disbursements


class Record(NamedTuple):
    """One record to publish, and what the platform owes for it."""

    key: bytes | None
    value: bytes | None
    admissible: bool  # False: hostile; it must be refused, or counted as a duplicate
    is_request: bool  # True: an application or drawdown that must be decided exactly once
    applicant: str  # "" where hostile
    id: str  # the event's id, "" where hostile
    kind: str  # type of the event, or the kind of hostility


class Truth(NamedTuple):
    """What became of a request; `true_pd` in 0..1, `known_at` in epoch ms."""

    applicant: str
    id: str
    bad: bool
    known_at: int
    true_pd: float


@dataclass(frozen=True)
class WorldConfig:
    """Size and temper of the world. Rates count arrivals of the whole population per second of
    event time.
    """

    applicants: int = 10_000
    firm_share: float = 0.15
    rate_per_second: float = 50.0
    request_share: float = 0.10
    hostile_share: float = 0.0
    # How many days of a loan pass in a day of event time: a demo of seconds shows dues and
    # payments with 86,400.
    pace: float = 1.0
    products: tuple[truth.Product, ...] = truth.PRODUCTS  # a side without one never applies
    seed: int = 1
    closed_loop: bool = True
    keep_truth: bool = True
    # What incomes are worth from `shift_ms` after the start on: 0.5 halves them, to show drift.
    income_factor: float = 1.0
    shift_ms: int = 0
    for_file: bool = False  # hostile records must each fit a line, and carry their own key


@dataclass(slots=True)
class _Line:
    id: str
    row: int
    institution: str
    available_cents: int


@dataclass(slots=True)
class _Request:
    row: int
    product: truth.Product | None  # None: a drawdown
    line: _Line | None
    amount_cents: int
    tenor_days: int
    true_pd: float
    bad: bool


@dataclass(slots=True)
class _Told:
    """What is known of a request or a draw after the decision: who lends how much on what terms."""

    request: _Request
    decision: str
    institution: str
    amount_cents: int
    tenor_days: int
    instalments: int
    interest_cents: int
    expires_at: int


class World:
    """People and firms that live on events; see the module.

    `start_ms` is the first instant; before `requests_from_ms` (default: start) nobody applies, so
    that the time between builds a history.
    """

    def __init__(
        self, config: WorldConfig, start_ms: int, requests_from_ms: int | None = None
    ) -> None:
        self.config = config
        self.now_ms = start_ms
        self._shift_at_ms = start_ms + config.shift_ms
        self.truth: list[Truth] = []
        self.population = make_population(config.seed, config.applicants, config.firm_share)
        # Plain lists: reading one NumPy scalar costs more than the rest of a small event.
        self._ids = self.population.ids
        products = config.products
        self._products = [[p for p in products if p.firm is firm] for firm in (False, True)]
        self._firm: list[bool] = self.population.firm.tolist()
        self._risk: list[float] = self.population.risk.tolist()
        self._income: list[int] = self.population.income_cents.tolist()
        self._requests_from_ms = start_ms if requests_from_ms is None else requests_from_ms
        self._arrivals = arrivals(
            self.population, config.seed, start_ms, config.rate_per_second, config.request_share
        )
        self._next = next(self._arrivals)
        self._queue: list[tuple[int, int, dict[str, Any], Callable[[int], None] | None]] = []
        self._events = 0
        self._queued = 0
        self._enquired_at = [0] * config.applicants
        self._pending: dict[tuple[str, str], _Request] = {}
        self._lines: list[_Line] = []
        self._out: list[Record] = []
        self._hostile = Hostile(config.seed, config.hostile_share, for_file=config.for_file)

    # ---- what the caller uses

    def next_events(self, until_ms: int) -> list[Record]:
        """Return all records up to and including `until_ms`, in order of event time."""
        out: list[Record] = []
        self._out = out
        while True:
            due_ms = self._queue[0][0] if self._queue else until_ms + 1
            if min(due_ms, self._next.at) > until_ms:
                break
            if due_ms <= self._next.at:
                at, _, event, follow_up = heapq.heappop(self._queue)
                self._tell(event)
                if follow_up is not None:
                    follow_up(at)
            else:
                arrival, self._next = self._next, next(self._arrivals)
                self._arrive(arrival)
        self.now_ms = max(self.now_ms, until_ms)
        return out

    def on_decision(self, decision: Mapping[str, Any]) -> None:
        """React to one decision record: take the offer, let it go, or forget the request.

        A decision on an unknown request, or a repeated one, is ignored.
        """
        key = (str(decision["applicant"]), str(decision["request"]))
        request = self._pending.pop(key, None)
        if request is None or decision["outcome"] != "approved":
            return
        told = _read_offer(request, decision)
        rng = random.Random(f"{self.config.seed}:{told.decision}")
        draw, wait_s = rng.random(), rng.expovariate(1 / 3.0)
        at = self.now_ms + 1 + int(wait_s * SECOND_MS)
        drawdown = request.product is None
        event = {"type": "", "id": "", "applicant": key[0], "at": at, "decision": told.decision}
        if draw < (DRAW_CANCEL_SHARE if drawdown else CANCEL_SHARE):
            self._schedule(at, {**event, "type": "cancel"})
        elif drawdown:  # a purchase on an approved line is its own yes
            self._disburse(told, at, rng)
        elif draw < CANCEL_SHARE + ACCEPT_SHARE:
            self._schedule(
                at, {**event, "type": "accept"}, lambda at: self._accepted(told, at, rng)
            )
        else:
            self._hostile.offer_left(key[0], told.decision, told.expires_at)

    # ---- the applicant's side

    def _arrive(self, arrival: Arrival) -> None:
        kind = arrival.kind
        if kind < ACTIVITIES:
            self._act(arrival)
        elif kind == REQUEST and arrival.at >= self._requests_from_ms:
            if self._lines and arrival.draw < DRAWDOWN_SHARE:
                self._draw_down(arrival)
            else:
                self._apply(arrival)
        elif kind == FOREIGN_LOAN:
            self._borrow_elsewhere(arrival)
        elif kind == ENQUIRY:
            self._enquire(arrival)

    def _act(self, arrival: Arrival) -> None:
        row = arrival.row
        event: dict[str, Any] = {
            "type": "activity",
            "id": "",
            "applicant": self._ids[row],
            "at": arrival.at,
            "kind": KINDS[arrival.kind],
        }
        if arrival.amount_cents > 0:
            event["amount_cents"] = arrival.amount_cents
        if self._firm[row]:
            event["counterparty"] = self._ids[arrival.counterparty]
        elif arrival.amount_cents > 0:
            event["counterparty"] = f"m{arrival.counterparty}"
        self._tell(event)

    def _apply(self, arrival: Arrival) -> None:
        row, firm = arrival.row, self._firm[arrival.row]
        side = self._products[firm]
        if not side:
            return
        rng = random.Random(f"{self.config.seed}/{arrival.at}/{row}/{arrival.draw_2}")
        product = truth.choose_product(side, rng.random())
        income = self._income[row] * self._income_factor(arrival.at)
        amount = max(100_00, int(income * rng.uniform(*product.amount)) // 100_00 * 100_00)
        request = self._judge(row, (product, None), amount, rng.choice(product.tenors), rng)
        at = arrival.at
        if at - self._enquired_at[row] > ENQUIRY_MS:
            self._enquire(arrival)
            at += 200 + int(rng.random() * 1_000)
        event = {
            "type": "application",
            "id": "",
            "applicant": self._ids[row],
            "at": at,
            "product": product.name,
            "channel": rng.choice(product.channels),
            "amount_cents": amount,
            "tenor_days": request.tenor_days,
            "device": f"d{row:x}",
            **self._stated(row, arrival.at),
        }
        self._schedule(at, event, lambda at: self._requested(event, request, at))

    def _income_factor(self, at: int) -> float:
        return self.config.income_factor if at >= self._shift_at_ms else 1.0

    def _stated(self, row: int, at: int) -> dict[str, Any]:
        stated = attributes(self.population, row, self.config.seed)
        for name in ("income_cents", "revenue_cents"):
            if name in stated:
                stated[name] = int(stated[name] * self._income_factor(at))
        return stated

    def _draw_down(self, arrival: Arrival) -> None:
        line = self._lines[int(arrival.draw_2 * len(self._lines))]
        rng = random.Random(f"{self.config.seed}/{arrival.at}/{line.id}/{arrival.draw}")
        room = line.available_cents
        # Most purchases fit the line; a few try for more than is left.
        share = rng.uniform(1.1, 2.0) if rng.random() < 0.03 else 0.02 + 0.25 * rng.random() ** 2
        amount = max(10_00, int(room * share) // 100 * 100)
        request = self._judge(line.row, (None, line), amount, rng.choice(truth.DRAW_TENORS), rng)
        event = {
            "type": "drawdown",
            "id": "",
            "applicant": self._ids[line.row],
            "at": arrival.at,
            "line": line.id,
            "amount_cents": amount,
            "tenor_days": request.tenor_days,
            "merchant": f"m{arrival.counterparty}",
        }
        self._tell(event)
        self._requested(event, request, arrival.at)

    def _judge(
        self,
        row: int,
        asked: tuple[truth.Product | None, _Line | None],
        amount_cents: int,
        tenor_days: int,
        rng: random.Random,
    ) -> _Request:
        """Fix the truth of a request before anyone decides on it."""
        side = truth.BUSINESS_PRODUCTS if self._firm[row] else truth.CONSUMER_PRODUCTS
        pd = truth.true_pd(
            self._risk[row],
            asked[0] or side[0],
            amount_cents,
            self._income[row],
            tenor_days,
        )
        return _Request(row, *asked, amount_cents, tenor_days, pd, rng.random() < pd)

    def _requested(self, event: Mapping[str, Any], request: _Request, at: int) -> None:
        key = (str(event["applicant"]), str(event["id"]))
        if self.config.closed_loop:
            self._pending[key] = request
        if self.config.keep_truth:
            known_at = truth.known_at(at, request.tenor_days, self.config.pace)
            self.truth.append(Truth(*key, request.bad, known_at, request.true_pd))

    def _enquire(self, arrival: Arrival) -> None:
        row = arrival.row
        self._enquired_at[row] = arrival.at
        for source, name, value in signals(self.population, row, 2 * arrival.draw_2 - 1):
            empty = int(arrival.draw_2 * 1e6 + len(name)) % 20 == 0
            event: dict[str, Any] = {
                "type": "signal",
                "id": "",
                "applicant": self._ids[row],
                "at": arrival.at,
                "source": source,
                "name": name,
                "value": 0.0 if empty else value,
                "status": "empty" if empty else "ok",
            }
            self._tell(event)

    # ---- the lenders' side

    def _borrow_elsewhere(self, arrival: Arrival) -> None:
        row = arrival.row
        rng = random.Random(f"{self.config.seed}/{arrival.at}/{row}/{arrival.draw}")
        side = truth.BUSINESS_PRODUCTS if self._firm[row] else truth.CONSUMER_PRODUCTS
        product = rng.choice(side)
        income = self._income[row]
        amount = max(100_00, int(income * rng.uniform(*product.amount)))
        tenor = rng.choice((30, 60, 90, 180))
        request = self._judge(row, (product, None), amount, tenor, rng)
        terms = repayment.Terms(
            self._ids[row], f"x{arrival.at:x}{row:x}", rng.choice(OTHER_LENDERS), "", amount,
            amount * tenor // 2_000, tenor, max(1, tenor // 30), self.config.pace,
        )  # fmt: skip
        risk = self._risk[row]
        for at, event in repayment.plan(terms, arrival.at, bad=request.bad, risk=risk, rng=rng):
            self._schedule(at, event)

    def _accepted(self, told: _Told, at: int, rng: random.Random) -> None:
        request = told.request
        if request.product is not None and request.product.line:
            line = _Line(told.decision, request.row, told.institution, told.amount_cents)
            self._lines.append(line)
        else:
            self._disburse(told, at, rng)

    def _disburse(self, told: _Told, at: int, rng: random.Random) -> None:
        request = told.request
        disbursed_at = at + 1 + int(rng.expovariate(1 / 2.0) * SECOND_MS)
        terms = repayment.Terms(
            self._ids[request.row], f"L{told.decision}", told.institution, told.decision,
            told.amount_cents, told.interest_cents, told.tenor_days, told.instalments,
            self.config.pace,
        )  # fmt: skip
        if rng.random() < FAILED_SHARE:
            self._schedule(disbursed_at, repayment.failed(terms, disbursed_at))
            return
        line_drawn = request.line
        if line_drawn is not None:
            line_drawn.available_cents -= told.amount_cents
        risk = self._risk[request.row]
        for when, event in repayment.plan(terms, disbursed_at, bad=request.bad, risk=risk, rng=rng):
            follow_up = None
            if line_drawn is not None and event["step"] == "payment":
                follow_up = _restore(line_drawn, event["principal_cents"])
            self._schedule(when, event, follow_up)

    # ---- the mail

    def _schedule(
        self, at: int, event: dict[str, Any], follow_up: Callable[[int], None] | None = None
    ) -> None:
        self._queued += 1
        heapq.heappush(self._queue, (at, self._queued, event, follow_up))

    def _tell(self, event: dict[str, Any]) -> None:
        self._events += 1
        id = event["id"] = f"e{self._events}"
        applicant, kind = event["applicant"], event["type"]
        request = kind in {"application", "drawdown"}
        record = Record(applicant.encode(), orjson.dumps(event), True, request, applicant, id, kind)
        self._out.append(record)
        if self.config.hostile_share > 0:
            for key, value, name in self._hostile.after(record.key, record.value, event):
                self._out.append(Record(key, value, False, False, "", "", name))


def _restore(line: _Line, principal_cents: int) -> Callable[[int], None]:
    def follow_up(_at: int) -> None:
        line.available_cents += principal_cents

    return follow_up


def _read_offer(request: _Request, decision: Mapping[str, Any]) -> _Told:
    """Read from a decision record what a borrower would: who lends, how much, at what price."""
    amount, tenor = int(decision["amount_cents"]), int(decision["tenor_days"])
    count = instalments(METHODS.index(decision["method"]), tenor)
    interest = max(0, int(decision["instalment_cents"]) * count - amount)
    return _Told(
        request, str(decision["id"]), str(decision["institution"]), amount, tenor, count,
        interest, int(decision["expires_at"]),
    )  # fmt: skip
