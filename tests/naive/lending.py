"""Answers, disbursements, loans, lines and expiries on the books: a ladder of refusals, then what
changes.

The tables of `streams/funding/life.py` decide what may follow what.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from streams.funding.life import LINE_LIFE, LOAN_LIFE, OFFER_LIFE
from streams.funding.segments import SegmentCap
from streams.limits import DAY_MS, LATE_MS_MAX, LOAN_PAID_CENTS_MAX
from streams.schema import (
    Cap,
    EventType,
    FundingMove,
    LineAction,
    LineState,
    LoanStep,
    OfferEvent,
    OfferState,
    Refusal,
)
from tests.naive.books import Books, Id, Line, Loan, Offer

Emit = Callable[[FundingMove, tuple[int, int], Id | None, int, int, int, int], None]
"""Writes a funding record: move, institution and cap, decision, amount, time, segments, day."""


class Lending:
    """What happens to offers and loans; `emit` is told every move of money."""

    def __init__(
        self,
        books: Books,
        emit: Emit,
        segments: Sequence[SegmentCap] = (),
        institutions: Sequence[str] = (),
    ) -> None:
        self.books = books
        self.emit = emit
        self.segments = segments
        self.institutions = institutions

    def move(self, move: FundingMove, offer: Offer, amount: int, at: int) -> None:
        """Move money of an offer between the pots of its lease, and tell."""
        if offer.cap < 0:
            return
        lease = self.books.leases[offer.institution, offer.cap]
        if move is FundingMove.RESERVE:
            lease.free -= amount
            lease.reserved += amount
        elif move is FundingMove.DRAW:
            lease.reserved -= amount
            lease.drawn += amount
        elif move in {FundingMove.RELEASE, FundingMove.EXPIRE}:
            lease.reserved -= amount
            lease.come_free(amount)
        elif move is FundingMove.REPAY:
            lease.drawn -= amount
            lease.come_free(amount)
        else:
            assert move is FundingMove.REVERSE
            taken = min(amount, lease.free)
            lease.drawn += amount
            lease.free -= taken
            lease.overdrawn += amount - taken
        signs = {FundingMove.DRAW: 0, FundingMove.RESERVE: 1, FundingMove.REVERSE: 1}
        repaid = move in {FundingMove.REPAY, FundingMove.REVERSE}
        for place in offer.segments:
            key = self.day(place, offer.asked_at)
            if not (repaid and self.segments[place].daily):
                used = self.books.segments.get(key, 0)
                self.books.segments[key] = used + signs.get(move, -1) * amount
        mask, day = 0, -1
        if move is not FundingMove.DRAW and offer.segments:
            offer_first = self.first_segment(offer.institution)
            mask = sum(1 << place - offer_first for place in offer.segments)
            if not repaid:
                day = (offer.asked_at + self.segments[offer_first].day_starts_ms) // DAY_MS
        self.emit(move, (offer.institution, offer.cap), offer.id, amount, at, mask, day)

    def first_segment(self, institution: int) -> int:
        """Return the place of an institution's first cap by day or segment."""
        ids = [cap.institution for cap in self.segments]
        return ids.index(self.institutions[institution])

    def day(self, place: int, at: int) -> tuple[int, int | None]:
        """Return what the use of a cap is counted under."""
        cap = self.segments[place]
        return place, (at + cap.day_starts_ms) // DAY_MS if cap.daily else None

    def end(self, offer: Offer, state: OfferState) -> None:
        """An offer ends; its row stays for L."""
        time = self.books.time or 0
        offer.state = state
        self.books.wait(offer, time + LATE_MS_MAX)
        self.books.people[offer.applicant].see(time)

    def named_offer(
        self, event: dict[str, Any], step: OfferEvent, institution: int | None
    ) -> tuple[Refusal, Offer | None]:
        """Return the offer that the event names, or why its step may not be taken."""
        offer = self.books.offers.get((event["reference_hi"], event["reference_lo"]))
        if offer is None:
            return Refusal.UNKNOWN_OFFER, None
        if offer.applicant != event["applicant"]:
            return Refusal.NOT_YOURS, None
        if institution is not None and offer.institution != institution:
            return Refusal.NOT_YOURS, None
        over = offer.is_open and offer.expires_at <= (self.books.time or 0)
        if over or offer.state is OfferState.EXPIRED:
            return Refusal.OFFER_EXPIRED, None
        if (offer.state, step) not in OFFER_LIFE:
            return Refusal.WRONG_STATE, None
        return Refusal.NONE, offer

    def answer(self, event: dict[str, Any]) -> Refusal:
        """The applicant accepts or cancels."""
        accepts = event["type"] == EventType.ACCEPT
        step = OfferEvent.ACCEPT if accepts else OfferEvent.CANCEL
        refusal, offer = self.named_offer(event, step, None)
        if offer is None:
            return refusal
        at = event["at"]
        if not accepts:
            self.move(FundingMove.RELEASE, offer, offer.amount, at)
            self.end(offer, OfferState.CANCELLED)
        elif offer.is_line:
            line = Line(
                offer.id, offer.applicant, offer.institution, offer.product, offer.channel,
                offer.amount, at, offer, offer.amount if offer.cap >= 0 else 0,
            )  # fmt: skip
            self.books.lines[offer.id] = line
            self.books.people[offer.applicant].lines.append(line)
            self.move(FundingMove.DRAW, offer, offer.amount, at)
            self.end(offer, OfferState.OPENED)
        else:
            offer.state = OfferState.ACCEPTED
            self.books.wait(offer, max(at, self.books.time or 0) + offer.offer_ms)
        self.books.ids[event["key_hi"], event["key_lo"]] = at + LATE_MS_MAX
        return Refusal.NONE

    def expire(self, most: int) -> int:
        """Fire the timers due at partition time, in order, so many at most; the rest wait. One
        whose offer waits for another time by now does nothing. Return how many offers expired.
        """
        time = self.books.time or 0
        self.books.timers.sort(key=lambda timer: timer[:2])
        due = [timer for timer in self.books.timers if timer[0] <= time][:most]
        self.books.timers = self.books.timers[len(due) :]
        expired = 0
        for at, _, offer in due:
            stands = self.books.offers.get(offer.id) is offer and offer.expires_at == at
            if not stands or offer.state is OfferState.DRAWN:
                continue
            if offer.is_open:
                self.move(FundingMove.EXPIRE, offer, offer.amount, time)
                self.end(offer, OfferState.EXPIRED)
                expired += 1
            else:
                del self.books.offers[offer.id]
        return expired

    def line_event(
        self, event: dict[str, Any], has_room: Callable[[int, int, int], bool]
    ) -> Refusal:
        """The institution freezes, unfreezes or closes a line, or changes its limit. `has_room`
        tells whether a cap by day or segment, by place, has room at a time for an amount.
        """
        books, at = self.books, event["at"]
        line = books.lines.get((event["reference_hi"], event["reference_lo"]))
        if line is None or line.applicant != event["applicant"]:
            return Refusal.UNKNOWN_LINE
        if line.institution != event["issuer"]:
            return Refusal.NOT_YOURS
        action = LineAction(event["step"])
        if (line.state, action) not in LINE_LIFE:
            return Refusal.WRONG_STATE
        more = event["amount_cents"] - line.limit if action is LineAction.LIMIT else 0
        if more > 0:
            if line.institution in books.paused:
                return Refusal.PAUSED
            lease = books.leases[line.institution, int(Cap.COMMITMENT)]
            holds = lease.can_reserve(more) and all(
                has_room(place, at, more) for place in line.offer.segments
            )
            if line.committed and not holds:
                return Refusal.NO_CAPACITY
        closes = action is LineAction.CLOSE and line.state is not LineState.CLOSED
        line.limit += more
        line.state = LINE_LIFE[line.state, action]
        if closes:
            more, line.closed_at = -line.committed, books.time or 0
        if line.committed and more:
            line.committed += more
            now = replace(line.offer, asked_at=at)
            if more > 0:
                self.move(FundingMove.RESERVE, now, more, at)
                self.move(FundingMove.DRAW, now, more, at)
            else:
                self.move(FundingMove.REPAY, now, -more, at)
        books.ids[event["key_hi"], event["key_lo"]] = max(at, books.time or 0) + LATE_MS_MAX
        return Refusal.NONE

    def loan_event(self, event: dict[str, Any]) -> Refusal:
        """Something happened to a loan, ours or another lender's."""
        step = LoanStep(event["step"])
        loan: Loan | None = None
        if step is LoanStep.DISBURSED:
            refusal, loan = self._disbursed(event)
        elif step is LoanStep.DISBURSE_FAILED:
            refusal, offer = self.named_offer(event, OfferEvent.FAIL, event["issuer"])
            if offer is not None:
                self.move(FundingMove.RELEASE, offer, offer.amount, event["at"])
                self.end(offer, OfferState.FAILED)
        else:
            loan = self.books.loans.get((event["loan_hi"], event["loan_lo"]))
            refusal = self._step(event, step, loan) if loan else Refusal.UNKNOWN_LOAN
        if refusal is Refusal.NONE:
            until = max(event["at"], self.books.time or 0) + LATE_MS_MAX
            self.books.ids[event["key_hi"], event["key_lo"]] = loan or until
        return refusal

    def _disbursed(self, event: dict[str, Any]) -> tuple[Refusal, Loan | None]:
        offer = None
        principal, at = event["principal_cents"], event["at"]
        if event["issuer"] >= 0:
            refusal, offer = self.named_offer(event, OfferEvent.DISBURSE, event["issuer"])
            if offer is None:
                return refusal, None
        id = event["loan_hi"], event["loan_lo"]
        if id in self.books.loans:
            return Refusal.WRONG_STATE, None
        if offer is not None and not 1 <= principal <= offer.amount:
            return Refusal.BAD_AMOUNT, None
        loan = Loan(event["applicant"], event["issuer"], principal, principal, at)
        self.books.loans[id] = loan
        self.books.person(event["applicant"]).loans.append(loan)
        if offer is not None:
            loan.offer, loan.line = offer, offer.line
            offer.state = OfferState.DRAWN
            self.move(FundingMove.DRAW, offer, principal, at)
            if principal < offer.amount:
                self.move(FundingMove.RELEASE, offer, offer.amount - principal, at)
        return Refusal.NONE, loan

    def _step(self, event: dict[str, Any], step: LoanStep, loan: Loan) -> Refusal:
        ours = loan.institution >= 0
        principal, at = event["principal_cents"], event["at"]
        names = ("principal_cents", "interest_cents", "fee_cents", "penalty_cents")
        amount = sum(event[name] for name in names)
        pays = step in {LoanStep.PAYMENT, LoanStep.REFUND}
        if (loan.state, step) not in LOAN_LIFE:
            return Refusal.WRONG_STATE
        if step is LoanStep.CLOSED and ours and loan.outstanding > 0:
            return Refusal.WRONG_STATE
        if pays and ours and principal > loan.outstanding:
            return Refusal.BAD_AMOUNT
        if pays and loan.paid + amount > LOAN_PAID_CENTS_MAX:
            return Refusal.BAD_AMOUNT
        if step is LoanStep.REVERSAL and amount > loan.paid:
            return Refusal.BAD_AMOUNT
        if step is LoanStep.REVERSAL and ours and principal > loan.principal - loan.outstanding:
            return Refusal.BAD_AMOUNT
        loan.state = LOAN_LIFE[loan.state, step]
        if step is LoanStep.DUE:
            loan.add_due(event["due_at"], amount)
            loan.settle(at)
        elif pays:
            loan.paid += amount
            self._principal(loan, min(principal, loan.outstanding), at)
        elif step is LoanStep.REVERSAL:
            loan.paid -= amount
            self._principal(loan, -min(principal, loan.principal - loan.outstanding), at)
        else:
            loan.closed_at = at
            if step is LoanStep.CLOSED and loan.offer is not None:
                self.end(loan.offer, OfferState.REPAID)
                loan.offer = None
        return Refusal.NONE

    def _principal(self, loan: Loan, back: int, at: int) -> None:
        """Principal came back, or (negative) was taken back; then say which dues are covered."""
        loan.outstanding -= back
        if loan.offer is not None and back:
            move = FundingMove.REPAY if back > 0 else FundingMove.REVERSE
            assert loan.offer.cap == Cap.OUTSTANDING
            self.move(move, loan.offer, abs(back), at)
        loan.settle(at)
