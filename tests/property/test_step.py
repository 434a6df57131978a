"""The step against its twin in plain Python, on generated logs; batch edges; money; full tables."""

from collections import Counter

import pytest

from streams.deployment import Deployment
from streams.limits import DAY_MS, LATE_MS_MAX
from streams.schema import FundingMove, LoanState, OfferState, Outcome, Refusal
from streams.step import Step
from streams.topology import OUT_DEAD_LETTER, OUT_FUNDING
from tests.naive.deployments import with_limits
from tests.naive.logs import START, LogMaker, verify
from tests.naive.records import Record
from tests.naive.run import counts_of, faults, make_step, run_log, same_leases
from tests.naive.step import NaiveStep
from tests.sizes import sized

SIZES = (1, 7, 64, 4_096)
SEEDS = range(sized(12))
ROWS = max(60, sized(400))
# What a decoder refuses has tests of its own; there is room for all in generated logs.
REFUSALS = [refusal for refusal in Refusal if Refusal.NO_KEY <= refusal < Refusal.NO_ROOM]
TINY: tuple[dict[str, int], ...] = (
    {"applicants": 8, "pages": 3, "lines": 8, "loans": 8, "dues": 3, "offers": 8, "timers": 32},
    {"ids": 16, "expiries_per_tick": 1, "sweep_rows_per_tick": 3},
    {"offers": 8, "timers": 32, "expiries_per_tick": 2, "sweep_rows_per_tick": 1},
)


def first_difference(maker: LogMaker, found: list[Record], wanted: list[Record]) -> str:
    """Return the first record that differs, with the row of the log that it is of."""
    for got, want in zip([*found, None], [*wanted, None], strict=False):
        if got != want:
            offset = min(record.offset for record in (got, want) if record)
            return f"row {offset} {maker.log[offset]}\n found {got}\nwanted {want}"
    return ""


@pytest.mark.kernel
@pytest.mark.timeout(900)  # the first of them compiles the step
@pytest.mark.parametrize("seed", SEEDS)
def test_the_step_is_its_twin(step_deployment: Deployment, seed: int) -> None:
    """Whatever the batches, the step writes byte for byte what plain Python writes row by row."""
    maker = LogMaker(step_deployment, seed).make(ROWS)
    wanted = [record for records in maker.expected for record in records]
    for size in SIZES:
        step = make_step(step_deployment)
        found = run_log(step, maker.log, size)
        assert not first_difference(maker, found, wanted), f"in batches of {size}"
        assert same_leases(step, maker.step.books)
        counts = counts_of(step)
        assert {key: counts[key] for key in maker.step.counters} == maker.step.counters


@pytest.mark.timeout(900)
def test_expiries_that_wait_for_the_next_tick_are_the_twin_s(step_deployment: Deployment) -> None:
    """With one expiry a tick the rest wait in the same order in the step as in plain Python."""
    one = with_limits(step_deployment, expiries_per_tick=1)
    waited = 0
    for seed in range(sized(4)):
        maker = LogMaker(one, 4_000 + seed).make(ROWS)
        wanted = [record for records in maker.expected for record in records]
        for size in (1, 64):
            found = run_log(make_step(one), maker.log, size)
            assert not first_difference(maker, found, wanted)
        at_once = NaiveStep(step_deployment, maker.partition, maker.partitions, verify)
        moves = [r for offset, row in enumerate(maker.log) for r in at_once.take(offset, *row)]
        moves = [record for record in moves if record.topic == OUT_FUNDING]
        waited += moves != [record for record in wanted if record.topic == OUT_FUNDING]
    assert waited or ROWS < 400


@pytest.mark.kernel
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_money_is_conserved_after_every_event(step_deployment: Deployment, seed: int) -> None:
    """After each event every lease balances with what offers, lines and loans hold, and each line
    has available what is neither reserved nor owed.
    """
    maker = LogMaker(step_deployment, 1_000 + seed).make(ROWS)
    assert not list(maker.step.books.faults())
    step = make_step(step_deployment)

    def check(rows: int) -> None:
        assert not list(faults(step)), f"after row {rows - 1}: {maker.log[rows - 1]}"

    run_log(step, maker.log, 1, check)


@pytest.mark.parametrize("seed", SEEDS)
def test_state_folded_without_output_goes_on_as_if_it_had_been_written(
    step_deployment: Deployment, seed: int
) -> None:
    """Recovery: a log's first part with the output off, then the rest, gives the rest's bytes."""
    maker = LogMaker(step_deployment, 2_000 + seed).make(ROWS)
    half = ROWS // 2
    step = make_step(step_deployment)
    step.mute(on=True)
    assert run_log(step, maker.log[:half], 64) == []
    step.mute(on=False)
    found = run_log(step, maker.log, 64, first=half)
    wanted = [record for records in maker.expected[half:] for record in records]
    assert not first_difference(maker, found, wanted)


def test_generated_logs_reach_everything(step_deployment: Deployment) -> None:
    """The logs of these tests hold every refusal after decode, every move of money, every outcome
    that a policy or a lease can give, overdrawn leases, and loans in every state.
    """
    counts: Counter[str] = Counter()
    for seed in range(16):
        maker = LogMaker(step_deployment, seed).make(400)
        counts.update(
            name for family, name in maker.step.counters if family in {"refused", "decided"}
        )
        for records in maker.expected:
            counts.update(text.decode() for r in records for text in r.value[:30].split(b'"')[3:4])
            counts["overdrawn"] += sum(
                b'"overdrawn_cents":' in r.value and b'"overdrawn_cents":0' not in r.value
                for r in records
            )
        counts.update(f"loan {loan.state.name}" for loan in maker.step.books.loans.values())
        counts.update(f"offer {o.state.name}" for o in maker.step.books.offers.values())
    wanted = {refusal.name.lower() for refusal in REFUSALS}
    wanted |= {move.name.lower().replace("_", "-") for move in FundingMove}
    wanted |= {o.name.lower() for o in Outcome if o not in {Outcome.EXPIRED, Outcome.DATA}}
    wanted |= {f"loan {state.name}" for state in LoanState if state is not LoanState.FREE}
    # What was accepted has gone on by the end of a log.
    passing = {OfferState.FREE, OfferState.ACCEPTED}
    wanted |= {f"offer {state.name}" for state in OfferState if state not in passing}
    assert not {name for name in wanted | {"overdrawn"} if not counts[name]}


@pytest.mark.kernel
@pytest.mark.timeout(900)
@pytest.mark.parametrize("limits", TINY, ids=["tables", "ids", "timers"])
def test_full_tables_refuse_and_go_on(step_deployment: Deployment, limits: dict[str, int]) -> None:
    """With tables that run full the step says `no_room`, money still balances after every event,
    and batch edges stay invisible.
    """
    tiny = with_limits(step_deployment, **limits)
    for seed in range(sized(4)):
        maker = LogMaker(step_deployment, 3_000 + seed).make(ROWS)
        step = make_step(tiny)

        def check(rows: int, step: Step = step) -> None:
            assert not list(faults(step)), f"after row {rows - 1}"

        first = run_log(step, maker.log, 1, check)
        for size in SIZES[1:]:
            assert run_log(make_step(tiny), maker.log, size) == first
        if ROWS == 400:
            refused = {r.refusal for r in first if r.topic == OUT_DEAD_LETTER}
            lost = counts_of(step)["no_room", ""]
            assert Refusal.NO_ROOM in refused or lost


def test_waves_shrink_before_ids_run_full(step_deployment: Deployment) -> None:
    """Where ids fill up in the middle of a batch, the rows that find no room are the same in every
    batch size; once they are forgotten there is room again.
    """
    small = with_limits(step_deployment, ids=2_048)
    maker = LogMaker(small, 0)
    maker.tick(START)
    fields = {"product": "invoice_loan", "channel": "app", "amount_cents": 1, "tenor_days": 30}
    for _ in range(1_900):
        maker.event("application", maker.people[0], START, **fields)
    maker.tick(START + LATE_MS_MAX + DAY_MS)
    maker.event("application", maker.people[0], START + LATE_MS_MAX + DAY_MS, **fields)
    written = [run_log(make_step(small), maker.log, size) for size in (64, 4_096)]
    assert written[0] == written[1]
    refused = [r.offset for r in written[0] if r.refusal is Refusal.NO_ROOM]
    assert refused == list(range(1_793, 1_901))  # an eighth of the ids stays empty
