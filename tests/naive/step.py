"""The whole step in plain Python, row by row in log order: bytes in, records out.

Nothing here is shared with the kernels but the catalog's and the policies' rows as data; features,
decode and policies are the twins of their own tests.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from aiokafka.partitioner import murmur2

from models.calibrate import parse_calibration
from models.lightgbm_text import parse_lightgbm_text
from models.policy.loader import ceiling_plans, product_plan
from models.policy.reasons import mask_of
from models.policy.tokens import TOKENS
from models.scorecard import parse_scorecard
from streams.config import vocabulary_of
from streams.deployment import Deployment
from streams.limits import AHEAD_MS_MAX, CLOSED_LOAN_MS, DAY_MS, IDLE_MS, LATE_MS_MAX, PPM
from streams.schema import (
    Cap,
    EventType,
    FundingMove,
    LineState,
    LoanState,
    OfferState,
    Outcome,
    Refusal,
)
from streams.step import Verify
from tests.features import build
from tests.features import naive as features
from tests.models.policy import naive as policies
from tests.models.tree_twin import twin_raw
from tests.naive.books import Books, Id, Lease, Line, Offer, Person
from tests.naive.lending import Lending
from tests.naive.records import Record, Writer, dead_letter
from tests.streams.codec.decode_twin import Reader

REQUESTS = {EventType.APPLICATION, EventType.DRAWDOWN}
ANSWERS = {EventType.ACCEPT, EventType.CANCEL}
DATED = {*REQUESTS, *ANSWERS, EventType.LINE}  # may be too old
HISTORY = {EventType.ACTIVITY, EventType.SIGNAL}
CONTROL = {kind for kind in EventType if kind >= EventType.TICK}
Event = dict[str, Any]
Score = Callable[[dict[str, float]], tuple[float, int]]


def _scorer(deployment: Deployment, model: int) -> Score:
    """Return a function of the features to raw score and probability of default, from files."""
    info = deployment.model_infos[model]
    path = info.folder / "calibration.csv"
    steps = parse_calibration(path, path.read_bytes())
    path = info.folder / ("model.txt" if info.kind == "lightgbm" else "scorecard.csv")
    if info.kind == "lightgbm":
        trees = parse_lightgbm_text(path, path.read_bytes())
    else:
        card = parse_scorecard(path, path.read_bytes())

    def last_step(starts: list[float], value: float) -> int:
        return max(n for n, start in enumerate(starts) if n == 0 or value >= start)

    def score(values: dict[str, float]) -> tuple[float, int]:
        if info.kind == "lightgbm":
            raw = twin_raw(trees, [values[name] for name in info.features])
        else:
            raw = 0.0
            for row in card:
                value = values[row.name]
                missing = value != value  # noqa: PLR0124 - only NaN differs from itself
                points = row.missing_points if missing else row.points[last_step(row.starts, value)]
                raw += points
        return raw, steps.pd_ppm[last_step(steps.raw_from, raw)]

    return score


class NaiveStep:
    """One partition: `take` a record, get what it gives."""

    def __init__(
        self,
        deployment: Deployment,
        partition: int,
        partitions: int,
        verify: Verify,
    ) -> None:
        self.deployment = deployment
        self.partition, self.partitions, self.verify = partition, partitions, verify
        names = vocabulary_of(deployment.platform, deployment.institutions, deployment.catalog)
        self.reader = Reader(names, deployment.platform.decision_key)
        self.products = [product_plan(product) for product in deployment.platform.products]
        self._decide_by(deployment)
        pairs = [(n, cap) for n in range(len(deployment.institutions)) for cap in Cap]
        self.books = Books({(n, int(cap)): Lease() for n, cap in pairs})
        self.books.prepared.add(deployment.version)
        self.lending = Lending(
            self.books, self._emit, deployment.segments, deployment.institution_ids
        )
        self.counters: Counter[tuple[str, str]] = Counter()
        self._records: list[Record] = []
        self._offset = 0

    def take(self, offset: int, key: bytes | None, value: bytes | None) -> list[Record]:
        """Take in one record of the log; return what the step writes for it, in order."""
        self._records, self._offset = [], offset
        event = self.reader.event_of(value)
        given = self.reader.read(value)[1]
        event["tokens"] = {n: given[name] for n, name in enumerate(TOKENS) if given.get(name)}
        self.counters["events", EventType(event["type"]).name.lower()] += 1
        refusal = self._admit(event, key, value or b"") or self._apply(event)
        if refusal:
            self.counters["refused", refusal.name.lower()] += 1
            if refusal is not Refusal.DUPLICATE:
                self._records.append(dead_letter(offset, refusal))
        return self._records

    def _emit(
        self,
        move: FundingMove,
        where: tuple[int, int],
        id: Id | None,
        amount: int,
        at: int,
        segments: int = 0,
        day: int = -1,
        part_ppm: int = -1,
    ) -> None:
        self.books.moves += 1
        what = (self.books.moves, at, amount, segments, day, part_ppm)
        lease = self.books.leases[where]
        self._records.append(self.writer.move(move, where, id, what, lease, self._offset))

    # --- admit
    def _admit(self, event: Event, key: bytes | None, value: bytes) -> Refusal:
        books, kind = self.books, event["type"]
        if event["refusal"]:
            return Refusal(event["refusal"])
        if kind in CONTROL:
            if key is not None:
                return Refusal.KEY_MISMATCH
            if event["partition"] != self.partition:
                return Refusal.WRONG_PARTITION
            if not self.verify(self.partition, value, self._offset):
                return Refusal.BAD_SIGNATURE
            back = kind == EventType.TICK and event["at"] < (books.time or 0)
            if event["seq"] != books.seq + 1 or back:
                return Refusal.BAD_SEQUENCE
            return Refusal.NONE
        if key is None:
            return Refusal.NO_KEY
        if key != event["applicant"]:
            return Refusal.KEY_MISMATCH
        if (murmur2(key) & 0x7FFFFFFF) % self.partitions != self.partition:
            return Refusal.WRONG_PARTITION
        moves_money = kind == EventType.LINE or (kind == EventType.LOAN and event["issuer"] >= 0)
        if moves_money and not self.verify(self.partition, value, self._offset):
            return Refusal.BAD_SIGNATURE
        if books.time is None:
            if kind in REQUESTS:
                return Refusal.NOT_STARTED
        elif event["at"] > books.time + AHEAD_MS_MAX:
            return Refusal.TOO_FAR_AHEAD
        elif kind in DATED and event["at"] < books.time - LATE_MS_MAX:
            return Refusal.TOO_OLD
        return Refusal.DUPLICATE if self._is_duplicate(event) else Refusal.NONE

    def _is_duplicate(self, event: Event) -> bool:
        id, books = (event["key_hi"], event["key_lo"]), self.books
        if event["type"] in HISTORY:
            person = books.people.get(event["applicant"])
            return person is not None and id in person.recent
        stands = id in books.offers or id in books.lines
        return books.remembers(id) or (event["type"] in REQUESTS and stands)

    # --- what an admitted event does
    def _apply(self, event: Event) -> Refusal:
        kind = event["type"]
        if kind in CONTROL:
            return self._control(event)
        if kind in ANSWERS:
            refusal = self.lending.answer(event)
        elif kind == EventType.LOAN:
            refusal = self.lending.loan_event(event)
        elif kind == EventType.LINE:
            refusal = self.lending.line_event(event, self._has_room)
        else:
            refusal = Refusal.NONE
            if kind in HISTORY:
                self._remember(event, self.books.person(event["applicant"]))
            else:
                self._decide(event, self.books.person(event["applicant"]))
        if not refusal:
            self.books.person(event["applicant"]).see(event["at"])
        return refusal

    def _remember(self, event: Event, person: Person) -> None:
        at = event["at"]
        if event["type"] == EventType.ACTIVITY:
            kind = self.deployment.catalog.kinds[event["kind"]]
            person.activity.append(
                build.Event(at, event["amount_cents"], kind, event["counterparty"])
            )
        elif at >= person.signals.get(event["signal"], (0.0, 0))[1]:
            value = event["value"] if event["status"] == 0 else float("nan")
            person.signals[event["signal"]] = value, at
        person.remember((event["key_hi"], event["key_lo"]))

    def _control(self, event: Event) -> Refusal:
        books, kind = self.books, event["type"]
        books.seq = event["seq"]
        version = f"{event['reference_hi']:016x}{event['reference_lo']:016x}"
        if kind == EventType.PREPARE:
            books.prepared.add(version)
        elif kind == EventType.ACTIVATE:
            if version not in books.prepared:
                return Refusal.NOT_PREPARED
            self._decide_by(self.deployment.versions.get(version))
        elif kind == EventType.PAUSE:
            books.paused.add(event["institution"])
        elif kind == EventType.RESUME:
            books.paused.discard(event["institution"])
        else:
            self._tick_or_lease(event)
        return Refusal.NONE

    def _decide_by(self, live: Deployment) -> None:
        """Take policies and models from here on."""
        self.live = live
        self.writer = Writer(live, self.partition, self.partitions)
        self.scorers = [_scorer(live, n) for n in range(len(live.model_infos))]
        self.ceilings = ceiling_plans(live.platform)

    def _tick_or_lease(self, event: Event) -> None:
        books = self.books
        if event["type"] == EventType.TICK:
            books.time = event["at"]
            most = self.deployment.limits.expiries_per_tick
            self.counters["expired", ""] += self.lending.expire(most)
            self._sweep()
            return
        where = event["institution"], event["cap"]
        if event["part_ppm"]:
            self._move_part(event, where)
            return
        lease, amount, move = books.leases[where], event["amount_cents"], FundingMove.GRANT
        if event["type"] == EventType.GRANT:
            lease.granted += amount
            lease.come_free(amount)
        else:
            move, amount = FundingMove.LEASE_RETURN, min(amount, lease.free)
            lease.free -= amount
            lease.returned += amount
        self._emit(move, where, None, amount, books.time or 0)

    def _move_part(self, event: Event, where: tuple[int, int]) -> None:
        """Take a part of a cap by day or segment, or give back what of it is not used."""
        grants, day, moved = event["type"] == EventType.GRANT, event["day"], 0
        names = [cap.institution for cap in self.live.segments]
        mine = self.deployment.institution_ids[where[0]]
        if event["segment"] < names.count(mine):
            place = names.index(mine) + event["segment"]
            cap = self.live.segments[place]
            today = (self.books.time or 0) + cap.day_starts_ms
            if not cap.daily or -8 <= day - today // DAY_MS <= 1:
                key = place, day if cap.daily else None
                held = self._held_ppm(*key)
                used, lowest = self.books.segments.get(key, 0), 0
                if used > 0:  # the least part, rounded down, that holds what is used
                    lowest = min(-(-used * PPM // max(cap.amount_cents, 1)), PPM)
                most = PPM - held if grants else max(held - lowest, 0)
                moved = min(event["part_ppm"], most)
                self.books.parts[key] = self.books.parts.get(key, 0) + moved * (1 if grants else -1)
        move = FundingMove.GRANT if grants else FundingMove.LEASE_RETURN
        self._emit(move, where, None, 0, self.books.time or 0, 1 << event["segment"], day, moved)

    def _held_ppm(self, place: int, day: int | None) -> int:
        part, rest = divmod(PPM, self.partitions)
        return part + (self.partition < rest) + self.books.parts.get((place, day), 0)

    def _sweep(self) -> None:
        """Forget what no feature looks at any more, and applicants with nothing left."""
        time = self.books.time or 0
        oldest = time - self.deployment.catalog.window_ms_max - LATE_MS_MAX
        for applicant, person in list(self.books.people.items()):
            person.activity = [event for event in person.activity if event.at >= oldest]
            for loan in list(person.loans):
                if loan.state is LoanState.CLOSED:
                    if loan.closed_at < time - CLOSED_LOAN_MS - LATE_MS_MAX:
                        person.loans.remove(loan)
                        loan.known = False
            for line in list(person.lines):
                drawn_on = any(loan.line == line.id for loan in person.loans)
                drawn_on |= self.books.available(line) != line.limit
                if line.state is LineState.CLOSED and not drawn_on:
                    if line.closed_at < time - CLOSED_LOAN_MS - LATE_MS_MAX:
                        person.lines.remove(line)
                        del self.books.lines[line.id]
            held = [*person.activity, *person.lines, *person.loans]
            held += self.books.open_offers(applicant)
            if not held and person.last_at < time - IDLE_MS:
                del self.books.people[applicant]
        self.books.loans = {id: loan for id, loan in self.books.loans.items() if loan.known}

    # --- decide
    def _decide(self, event: Event, person: Person) -> None:
        books, id = self.books, (event["key_hi"], event["key_lo"])
        books.ids[id] = event["at"] + LATE_MS_MAX
        if event["type"] == EventType.APPLICATION:
            given = enumerate(event["attributes"])
            person.attributes |= {n: value for n, value in given if value == value}  # noqa: PLR0124
        line = None
        if event["type"] == EventType.DRAWDOWN:
            line = books.lines.get((event["reference_hi"], event["reference_lo"]))
            if line is not None and line.applicant != event["applicant"]:
                line = None
        values = self._features(event, person, line)
        scores = [score(values) for score in self.scorers]
        if line is not None:
            event["product"], event["channel"] = line.product, line.channel
        verdicts = self._judge(event, values, scores, line)
        result = self._fund(event, verdicts, line)
        if result["chosen"] >= 0:
            verdict = verdicts[result["chosen"]]
            institution = self.deployment.institution_ids[verdict["institution"]]
            self.counters["approved", institution] += 1
            self.counters["approved_cents", institution] += verdict["amount_cents"]
        self.counters["decided", Outcome(result["outcome"]).name.lower()] += 1
        numbers = (list(values.values()), [raw for raw, _ in scores], [pd for _, pd in scores])
        decision = self.writer.decision(event, self._offset, result)
        evidence = self.writer.evidence(event, self._offset, result, numbers)
        self._records[:0] = [decision, evidence]

    def _features(self, event: Event, person: Person, line: Line | None) -> dict[str, float]:
        catalog, books = self.deployment.catalog, self.books

        def as_line(known: Line) -> build.Line:
            return build.Line(
                known.opened_at, known.limit, books.available(known), int(known.state)
            )

        request = build.Request(
            event["at"],
            event["amount_cents"],
            event["tenor_days"],
            event["type"] == EventType.DRAWDOWN,
        )
        offers = books.open_offers(event["applicant"])
        return features.vector(
            catalog,
            request,
            person.activity,
            [_as_loan(loan) for loan in person.loans],
            [as_line(known) for known in person.lines],
            as_line(line) if line else None,
            {catalog.attributes[n].name: value for n, value in person.attributes.items()},
            {catalog.signals[n].column: signal for n, signal in person.signals.items()},
            {
                "open_offers": len(offers),
                "reserved_cents": sum(offer.amount for offer in offers),
                "history_truncated": 0,
            },
        )

    def _judge(
        self,
        event: Event,
        values: dict[str, float],
        scores: list[tuple[float, int]],
        line: Line | None,
    ) -> list[dict[str, Any]]:
        drawdown = event["type"] == EventType.DRAWDOWN
        if drawdown and line is None:
            return []
        frozen = line is not None and line.state is not LineState.ACTIVE
        request = policies.Request(
            event["amount_cents"],
            event["tenor_days"],
            event["at"],
            preset={"line_not_active"} if frozen else set(),
            available=max(self.books.available(line), 0) if line else -1,
        )
        request.applicant = event["applicant_hash"]
        request.features = dict(enumerate(values.values()))
        request.raw = dict(enumerate(raw for raw, _ in scores))
        request.pd = dict(enumerate(pd for _, pd in scores))
        request.tokens, request.lists = event["tokens"], self.live.policies.lists
        where = (1, event["product"], -1, line.institution) if line else (
            0, event["product"], event["channel"], -1
        )  # fmt: skip
        plans = list(self.live.policies.plans)
        return policies.judge(self.products, self.ceilings, plans, where, request)

    def _fund(
        self, event: Event, verdicts: list[dict[str, Any]], line: Line | None
    ) -> dict[str, Any]:
        """The best offer whose lease can hold it; those before it lost for lack of capacity."""
        order = policies.rank(self.products[event["product"]].ranking, verdicts) if verdicts else []
        for place, row in enumerate(order):
            verdicts[row]["rank"] = place
        for row in order:
            verdict = verdicts[row]
            if verdict["institution"] in self.books.paused:
                verdict["outcome"] = Outcome.ELIGIBILITY
                verdict["reasons"] |= mask_of(["institution_paused"])
                continue
            where = verdict["institution"], verdict["cap"]
            if where[1] < 0:
                return self._approve(event, verdicts, row, line, ())
            segments = self._segments(event, verdict)
            if self.books.leases[where].can_reserve(verdict["amount_cents"]) and all(
                self._has_room(place, event["at"], verdict["amount_cents"]) for place in segments
            ):
                return self._approve(event, verdicts, row, line, segments)
            verdict["outcome"] = Outcome.CAPACITY
            verdict["reasons"] |= mask_of(["capacity"])
        result = {"verdicts": verdicts, "chosen": -1, "expires_at": 0}
        if verdicts:
            furthest = max(verdicts, key=lambda verdict: verdict["outcome"])
            return result | {"outcome": furthest["outcome"], "reasons": furthest["reasons"]}
        unknown_line = event["type"] == EventType.DRAWDOWN and line is None
        reason = "line_unknown" if unknown_line else "no_institution"
        return result | {"outcome": Outcome.ELIGIBILITY, "reasons": mask_of([reason])}

    def _segments(self, event: Event, verdict: dict[str, Any]) -> tuple[int, ...]:
        """Return the places of the caps by day and segment that an offer falls in."""
        institution = self.deployment.institution_ids[verdict["institution"]]
        known = self.books.people[event["applicant"]].attributes
        return tuple(
            place
            for place, cap in enumerate(self.live.segments)
            if (cap.institution, cap.cap) == (institution, verdict["cap"])
            if verdict["reasons"] or not cap.at_random
            if cap.products >> event["product"] & 1 and cap.bands >> verdict["band"] & 1
            if cap.attribute < 0
            or (cap.attribute in known and cap.values >> int(known[cap.attribute]) & 1)
        )

    def _has_room(self, place: int, at: int, amount: int) -> bool:
        key = self.lending.day(place, at)
        share = self.live.segments[place].amount_cents * self._held_ppm(*key) // PPM
        return self.books.segments.get(key, 0) + amount <= share

    def _approve(
        self,
        event: Event,
        verdicts: list[dict[str, Any]],
        row: int,
        line: Line | None,
        segments: tuple[int, ...],
    ) -> dict[str, Any]:
        verdict, id = verdicts[row], (event["key_hi"], event["key_lo"])
        offer = Offer(
            id=id,
            applicant=event["applicant"],
            # A purchase on an approved line needs no second yes.
            state=OfferState.ACCEPTED if line else OfferState.OFFERED,
            institution=verdict["institution"],
            product=event["product"],
            channel=event["channel"],
            cap=verdict["cap"],
            line=line.id if line else None,
            is_line=line is None and self.products[event["product"]].is_line,
            amount=verdict["amount_cents"],
            offer_ms=verdict["offer_ms"],
            expires_at=max(event["at"], self.books.time or 0) + verdict["offer_ms"],
            asked_at=event["at"],
            segments=segments,
        )
        self.books.offers[id] = offer
        self.books.wait(offer, offer.expires_at)
        self.lending.move(FundingMove.RESERVE, offer, offer.amount, event["at"])
        return {
            "verdicts": verdicts,
            "chosen": row,
            "outcome": Outcome.APPROVED,
            "reasons": 0,
            "expires_at": offer.expires_at,
        }


def _as_loan(loan: Any) -> build.Loan:
    """Return a loan as the twin of features takes it."""
    dues = tuple(build.Due(due.due_at, due.amount, due.covered_at) for due in loan.dues)
    return build.Loan(
        loan.disbursed_at, loan.principal, loan.outstanding, loan.closed_at, int(loan.state),
        loan.institution, dues,
    )  # fmt: skip
