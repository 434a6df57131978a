"""What the naive step remembers: people, offers, lines, loans, leases, as dataclasses in dicts."""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.limits import RECENT_IDS
from streams.schema import Cap, LineState, LoanState, OfferState
from tests.features import build

Id = tuple[int, int]  # 128 bits of an id: high half, low half


@dataclass
class Lease:
    """granted + overdrawn = free + reserved + drawn + returned."""

    granted: int = 0
    free: int = 0
    reserved: int = 0
    drawn: int = 0
    returned: int = 0
    overdrawn: int = 0

    def come_free(self, amount: int) -> None:
        """Money that comes free pays what is overdrawn first."""
        paid = min(amount, self.overdrawn)
        self.overdrawn -= paid
        self.free += amount - paid

    def can_reserve(self, amount: int) -> bool:
        """Nothing is reserved while anything is overdrawn."""
        return self.overdrawn == 0 and amount <= self.free


@dataclass
class Offer:
    """An approved decision, from the offer to its end; kept a while after that."""

    id: Id
    applicant: bytes
    state: OfferState
    institution: int
    product: int
    channel: int
    cap: int  # -1: nothing is reserved
    line: Id | None  # the line drawn on
    is_line: bool
    amount: int
    offer_ms: int
    expires_at: int
    asked_at: int = 0
    segments: tuple[int, ...] = ()  # caps by day and segment that it counts on, by place

    @property
    def is_open(self) -> bool:
        """Whether money is held for it."""
        return self.state in {OfferState.OFFERED, OfferState.ACCEPTED}


@dataclass
class Line:
    """An approved line; what is available is limit less draws held less draws owed."""

    id: Id
    applicant: bytes
    institution: int
    product: int
    channel: int
    limit: int
    opened_at: int
    offer: Offer  # that it came from
    committed: int  # of the commitment lease
    state: LineState = LineState.ACTIVE
    closed_at: int = 0


@dataclass(order=True)
class Due:
    due_at: int
    amount: int = field(compare=False)
    covered_at: int = field(default=0, compare=False)  # 0: never


@dataclass
class Loan:
    """A loan of ours (an institution's code) or of another lender (-1)."""

    applicant: bytes
    institution: int
    principal: int
    outstanding: int
    disbursed_at: int
    offer: Offer | None = None
    line: Id | None = None
    state: LoanState = LoanState.OPEN
    closed_at: int = 0
    paid: int = 0
    dues: list[Due] = field(default_factory=list)
    known: bool = True  # False once it has left the books

    def add_due(self, due_at: int, amount: int) -> None:
        """Add an instalment, after those of the same date."""
        insort(self.dues, Due(due_at, amount))

    def settle(self, at: int) -> None:
        """Say which dues the payments reach, oldest first, and since when."""
        left = self.paid
        for due in self.dues:
            left -= due.amount
            if left < 0:
                due.covered_at = 0
            elif due.covered_at == 0:
                due.covered_at = at


@dataclass
class Person:
    """An applicant: what was said of it, what it did, what it owes."""

    attributes: dict[int, float] = field(default_factory=dict)
    signals: dict[int, tuple[float, int]] = field(default_factory=dict)  # value, at
    activity: list[build.Event] = field(default_factory=list)
    recent: list[Id] = field(default_factory=list)
    loans: list[Loan] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    last_at: int = 0

    def see(self, at: int) -> None:
        """Note that an event of that time counted."""
        self.last_at = max(self.last_at, at)

    def remember(self, id: Id) -> None:
        """Keep the last ids of activity and signals."""
        self.recent = [*self.recent, id][-RECENT_IDS:]


@dataclass
class Books:
    """All that a partition remembers."""

    leases: dict[tuple[int, int], Lease]  # by institution and cap
    people: dict[bytes, Person] = field(default_factory=dict)
    offers: dict[Id, Offer] = field(default_factory=dict)
    lines: dict[Id, Line] = field(default_factory=dict)
    loans: dict[Id, Loan] = field(default_factory=dict)
    ids: dict[Id, int | Loan] = field(default_factory=dict)  # until when, or as long as the loan
    time: int | None = None  # last tick
    seq: int = 0  # last control event
    prepared: set[str] = field(default_factory=set)  # versions that may go live
    paused: set[int] = field(default_factory=set)  # institutions
    moves: int = 0  # funding records so far
    # By place of a cap by day or segment, and day where it is by day: what is promised and lent.
    segments: dict[tuple[int, int | None], int] = field(default_factory=dict)
    parts: dict[tuple[int, int | None], int] = field(default_factory=dict)  # moved, ppm
    timers: list[tuple[int, int, Offer]] = field(default_factory=list)  # when, low half of id

    def wait(self, offer: Offer, until: int) -> None:
        """Let the next thing that happens to the offer by itself happen at that time."""
        offer.expires_at = until
        self.timers.append((until, offer.id[1], offer))

    def person(self, applicant: bytes) -> Person:
        """Return an applicant, who is known from the first event on that counts."""
        return self.people.setdefault(applicant, Person())

    def remembers(self, id: Id) -> bool:
        """Whether an event of that id counted, and is still remembered."""
        until = self.ids.get(id)
        if until is None:
            return False
        return until.known if isinstance(until, Loan) else until >= (self.time or 0)

    def open_offers(self, applicant: bytes) -> list[Offer]:
        """Offers of the applicant that hold money."""
        return [o for o in self.offers.values() if o.applicant == applicant and o.is_open]

    def available(self, line: Line) -> int:
        """Limit less draws held less principal of draws not repaid; below 0 after a reversal."""
        held = sum(o.amount for o in self.open_offers(line.applicant) if o.line == line.id)
        owed = sum(loan.outstanding for loan in self.loans.values() if loan.line == line.id)
        return line.limit - held - owed

    def faults(self) -> Iterator[str]:
        """Yield each way in which the books do not balance."""
        for (institution, cap), lease in self.leases.items():
            held = [o for o in self.offers.values() if (o.institution, o.cap) == (institution, cap)]
            reserved = sum(offer.amount for offer in held if offer.is_open)
            if reserved != lease.reserved:
                yield f"lease {institution}/{cap}: {reserved} held by offers, {lease} reserved"
            if cap == Cap.COMMITMENT:
                mine = [line for line in self.lines.values() if line.institution == institution]
                if lease.drawn != sum(line.committed for line in mine):
                    yield f"lease {institution}/{cap}: {lease}, its lines {mine}"
            pots = lease.free + lease.reserved + lease.drawn + lease.returned
            if lease.granted + lease.overdrawn != pots or min(vars(lease).values()) < 0:
                yield f"lease {institution}/{cap}: {lease}"
