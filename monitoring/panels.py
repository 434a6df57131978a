"""What the five dashboards show: panels, each a few queries; Grafana's files are made from here.

`$__rate_interval` is Grafana's own; `$institution` is the variable of the Institution dashboard.
"""

from typing import Literal, NamedTuple

Kind = Literal["lines", "stacked", "number", "bars"]
# Units by Grafana's names.
SECONDS, RATIO, PER_SECOND, COUNT, BYTES = "s", "percentunit", "ops", "short", "bytes"


class Query(NamedTuple):
    """A PromQL expression and how its series are called (`{{label}}` is the label's value)."""

    expr: str
    legend: str = ""


class Panel(NamedTuple):
    """One panel. `empty`: why it may rightly show nothing; without it there is always data."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    help: str = ""
    empty: str = ""


class Board(NamedTuple):
    """One dashboard: its name in the address, its title, whom it serves, its panels."""

    uid: str
    title: str
    help: str
    panels: tuple[Panel, ...]


def _rate(metric: str, by: str = "", where: str = "") -> str:
    selected = f"{metric}{{{where}}}" if where else metric
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped}(rate({selected}[$__rate_interval]))"


def _quantile(share: float, metric: str, by: str = "") -> str:
    inner = _rate(f"{metric}_bucket", f"le, {by}" if by else "le")
    return f"histogram_quantile({share}, {inner})"


_NO_LOAN_ENDED = "no loan has come to its end yet: its last instalment and 30 days must pass"
_NO_REFERENCE = "no model with a reference has scored 200 applications yet"
_NO_KEEPER = "`dipper state keep` does not run here, and no worker recovers from a snapshot"
_NO_ARCHIVER = "no `dipper archive keep` runs here"
_NO_EXPERIMENT = "no policy has a challenger or lets anybody in at random, or the agents do not run"
_NO_SHADOW = "no `dipper agents --shadow` runs here"
_REFUSED = 'reason!="none",reason!="duplicate"'

PIPELINE = Board(
    "dipper-pipeline", "dipper · Pipeline", "What the workers do, how fast, and what stands still.",
    (
        Panel("Events a second", PER_SECOND,
              (Query(_rate("dipper_events_total", "type"), "{{type}}"),), "stacked"),
        Panel("Decisions a second", PER_SECOND,
              (Query(_rate("dipper_decided_total"), "decisions"),)),
        Panel("From Kafka to committed, by record", SECONDS,
              tuple(Query(_quantile(q, "dipper_record_seconds"), f"p{100 * q:g}")
                    for q in (0.5, 0.99)),
              help="From a batch taken off Kafka to its outputs and offset committed."),
        Panel("Stages, p99 of a batch", SECONDS,
              (Query(_quantile(0.99, "dipper_stage_seconds", "stage"), "{{stage}}"),),
              help="step: stages 2 to 10, one compiled call; commit: stage 11."),
        Panel("Lag", COUNT,
              (Query("max by (partition) (dipper_partition_lag_records)",
                     "partition {{partition}}"),)),
        Panel("Age of partition time", SECONDS,
              (Query("time() - max by (partition) (dipper_partition_time_seconds)",
                     "partition {{partition}}"),),
              help="By this server's clock, not the workers'. With --clock file it is that of the "
              "file."),
        Panel("Partitions", COUNT,
              (Query("sum(dipper_partition_ready)", "ready"),
               Query("sum(dipper_partition_halted)", "halted")), "number"),
        Panel("Refused, by reason", PER_SECOND,
              (Query(_rate("dipper_refused_total", "reason", _REFUSED) + " > 0", "{{reason}}"),),
              "stacked", empty="nothing is refused"),
        Panel("Repeats", PER_SECOND,
              (Query(_rate("dipper_refused_total", "", 'reason="duplicate"'), "repeats"),)),
        Panel("Share of the slow lane", RATIO,
              (Query(f"{_rate('dipper_slow_lane_total')} / {_rate('dipper_events_total')}",
                     "slow lane"),)),
        Panel("Records of a batch", COUNT,
              (Query(f"{_rate('dipper_batch_records_sum')} / {_rate('dipper_batch_records_count')}",
                     "mean"),)),
        Panel("Commits, aborts, fences, rebalances", PER_SECOND,
              tuple(Query(_rate(f"dipper_{name}_total"), name)
                    for name in ("commits", "aborts", "fences", "rebalances"))),
        Panel("Records of a wave", COUNT,
              (Query(f"{_rate('dipper_events_total')} / {_rate('dipper_waves_total')}", "mean"),),
              help="A wave ends where an applicant comes again, and before every control event."),
        Panel("Log, decided, committed, records a second", PER_SECOND,
              tuple(Query(f"sum(deriv(dipper_partition_{name}offset[$__rate_interval]))", legend)
                    for name, legend in (("end_", "published"), ("", "decided"),
                                         ("committed_", "committed"))),
              help="Markers of transactions take offsets, too."),
        Panel("Ticks a second", PER_SECOND,
              (Query(_rate("dipper_control_ticks_total"), "ticks"),),
              help="Of control, into every partition."),
        Panel("What runs", COUNT,
              (Query("count by (version, manifest) (dipper_build_info)",
                     "{{version}} {{manifest}}"),), "number",
              help="Workers by version and manifest: two of them while one replaces the other."),
        Panel("Approvals lost for lack of room", PER_SECOND,
              (Query(_rate("dipper_no_room_total"), "no room"),),
              help="A table was full when an approval was to be recorded."),
        Panel("Tables, fullest partition", RATIO,
              (Query("max by (table) (dipper_table_rows / dipper_table_capacity_rows)",
                     "{{table}}"),)),
        Panel("Recovery of a partition", SECONDS,
              (Query("sum(dipper_recovery_seconds_sum) / sum(dipper_recovery_seconds_count)",
                     "mean"),), "number"),
        Panel("Newest snapshot, behind partition time", SECONDS,
              (Query("max by (partition) (dipper_partition_time_seconds)"
                     " - max by (partition) (dipper_snapshot_time_seconds)",
                     "partition {{partition}}"),),
              help="What a worker that takes the partition over would have to fold again.",
              empty=_NO_KEEPER),
        Panel("Snapshots not written, or passed over, in an hour", COUNT,
              (Query("sum by (partition) (increase(dipper_snapshot_failures_total[1h]))",
                     "partition {{partition}}, not written"),
               Query("sum by (partition) (increase(dipper_snapshots_skipped_total[1h]))",
                     "partition {{partition}}, passed over by the keeper"),
               Query("sum by (partition) (increase(dipper_recovery_snapshots_skipped_total[1h]))",
                     "partition {{partition}}, passed over by a worker")),
              help="Corrupt, or of a state that this engine cannot read; the one before is taken.",
              empty=_NO_KEEPER),
        Panel("Records behind the commit", COUNT,
              (Query("max by (partition) (dipper_partition_committed_offset)"
                     " - max by (partition) (dipper_followed_offset)",
                     "partition {{partition}}, not followed"),
               Query("max by (partition) (dipper_partition_committed_offset)"
                     " - max by (partition) (dipper_snapshot_offset)",
                     "partition {{partition}}, in no snapshot")),
              help="What the follower has still to fold, and a new owner of the partition.",
              empty=_NO_KEEPER),
        Panel("Records wait for the archive", SECONDS,
              (Query("max by (topic, partition) (dipper_archive_lag_seconds)",
                     "{{topic}} {{partition}}"),), empty=_NO_ARCHIVER),
        Panel("Not archived, and how far Kafka is from deleting", COUNT,
              (Query("sum by (topic) (dipper_archive_log_end_offset - dipper_archive_offset)",
                     "{{topic}}, not archived"),
               Query("min by (topic) (dipper_archive_offset - dipper_archive_log_start_offset)",
                     "{{topic}}, archived and kept")),
              help="Records. Below 0: Kafka has deleted what was never archived.",
              empty=_NO_ARCHIVER),
        Panel("Runs of the archiver that failed, in an hour", COUNT,
              (Query("sum(increase(dipper_archive_failures_total[1h]))", "failed"),), "number",
              empty=_NO_ARCHIVER),
        Panel("Processor", COUNT,
              (Query("rate(process_cpu_seconds_total[$__rate_interval])", "{{instance}}"),),
              help="Cores, by process."),
        Panel("Memory", BYTES, (Query("process_resident_memory_bytes", "{{instance}}"),)),
    ),
)  # fmt: skip

DECISIONS = Board(
    "dipper-decisions", "dipper · Decisions", "Who is approved, at which risk and price, and why "
    "others are not.",
    (
        Panel("Approval rate", RATIO,
              (Query(_rate("dipper_decided_total", "", 'outcome="approved"') + " / "
                     + _rate("dipper_decided_total"), "approved"),)),
        Panel("Outcomes", PER_SECOND,
              (Query(_rate("dipper_decided_total", "outcome"), "{{outcome}}"),), "stacked"),
        Panel("Reasons of declines", PER_SECOND,
              (Query(f"topk(10, {_rate('dipper_reasons_total', 'reason')} > 0)", "{{reason}}"),),
              "bars", empty="nothing is declined"),
        Panel("Approval rate by product", RATIO,
              (Query('sum by (type, product) (rate(dipper_decided_by_product_total{'
                     'outcome="approved"}[$__rate_interval])) / '
                     + _rate("dipper_decided_by_product_total", "type, product"),
                     "{{type}} {{product}}"),)),
        Panel("Approval rate by channel", RATIO,
              (Query('sum by (channel) (rate(dipper_decided_by_product_total{'
                     'outcome="approved"}[$__rate_interval])) / '
                     + _rate("dipper_decided_by_product_total", "channel"), "{{channel}}"),)),
        Panel("Probability of default", RATIO,
              (Query(_quantile(0.5, "dipper_pd_ratio", "verdict"), "{{verdict}}, median"),
               Query(_quantile(0.9, "dipper_pd_ratio", "verdict"), "{{verdict}}, p90"))),
        Panel("Decisions by probability of default", PER_SECOND,
              (Query(_rate("dipper_pd_ratio_bucket", "le", 'verdict="approved"'),
                     "approved ≤ {{le}}"),), help="Cumulative: the line of an edge counts all "
              "approvals up to it."),
        Panel("All-in yearly cost of approvals", RATIO,
              (Query(_quantile(0.5, "dipper_apr_ratio"), "median"),
               Query(_quantile(0.9, "dipper_apr_ratio"), "p90"))),
        Panel("Approvals by institution", PER_SECOND,
              (Query(_rate("dipper_approved_total", "institution"), "{{institution}}"),),
              "stacked"),
        Panel("Approved amount by institution, a second", COUNT,
              (Query(_rate("dipper_approved_cents_total", "institution") + " / 100",
                     "{{institution}}"),)),
        Panel("Notices", PER_SECOND,
              (Query(_rate("dipper_notices_total", "result"), "{{result}}"),),
              help="To applicants; repeated: left out; unread: a decision that could not be read."),
        Panel("Approval rate by region", RATIO,
              (Query('sum by (value) (rate(dipper_segment_decided_total{attribute="region",'
                     'verdict="approved"}[$__rate_interval])) / ' +
                     _rate("dipper_segment_decided_total", "value", 'attribute="region"'),
                     "{{value}}"),),
              empty="no model or policy reads a category called region, or the agents do not run"),
    ),
)  # fmt: skip

FUNDING = Board(
    "dipper-funding", "dipper · Funding", "Where each institution's money is, and where it runs "
    "short.",
    (
        Panel("Caps", COUNT,
              (Query("max by (institution, cap) (dipper_cap_cents) / 100",
                     "{{institution}} {{cap}}"),), "bars"),
        Panel("Leases, by what has become of them", COUNT,
              (Query("sum by (pot) (dipper_lease_cents) / 100", "{{pot}}"),)),
        Panel("Use of the cap", RATIO,
              (Query('sum by (institution, cap) (dipper_lease_cents{pot=~"reserved|drawn"}) / '
                     "max by (institution, cap) (dipper_cap_cents > 0)",
                     "{{institution}} {{cap}}"),)),
        Panel("Free on leases", COUNT,
              (Query('sum by (institution, cap) (dipper_lease_cents{pot="free"}) / 100',
                     "{{institution}} {{cap}}"),)),
        Panel("Granted of the cap", RATIO,
              (Query('sum by (institution, cap) (dipper_lease_cents{pot="granted"}) / '
                     "max by (institution, cap) (dipper_cap_cents > 0)",
                     "{{institution}} {{cap}}"),)),
        Panel("Use of caps by day and segment", RATIO,
              (Query("sum by (institution, segment) (dipper_segment_used_cents) / "
                     "sum by (institution, segment) (dipper_segment_cap_cents > 0)",
                     "{{institution}} {{segment}}"),),
              help="A cap by day counts from 0 at each midnight of the institution.",
              empty="no institution has a cap by day or segment"),
        Panel("Requests lost for want of capacity", PER_SECOND,
              (Query(_rate("dipper_decided_total", "", 'outcome="capacity"'), "capacity"),)),
        Panel("Overdrawn", COUNT,
              (Query('sum by (institution, cap) (dipper_lease_cents{pot="overdrawn"}) / 100',
                     "{{institution}} {{cap}}"),), "number",
              help="A reversal that found too little free; it stops new reservations."),
        Panel("Offers that expired", PER_SECOND,
              (Query(_rate("dipper_expired_total"), "expired"),)),
        Panel("Fees of approved offers, a second", COUNT,
              (Query(_rate("dipper_offered_fee_cents_total", "institution") + " / 100",
                     "{{institution}}"),), empty="the agents do not run"),
    ),
)  # fmt: skip

MODELS = Board(
    "dipper-models", "dipper · Models", "Is the population the one a model learnt, and were its "
    "probabilities true?",
    (
        Panel("PSI of the score", COUNT,
              (Query('max by (model) (dipper_psi{column="score"})', "{{model}}"),
               Query('max by (model) (dipper_psi_noise{column="score"})', "{{model}}, by chance")),
              empty=_NO_REFERENCE),
        Panel("PSI of features, the ten highest", COUNT,
              (Query('topk(10, max by (model, column) (dipper_psi{column!="score"}))',
                     "{{model}} {{column}}"),), "bars", empty=_NO_REFERENCE),
        Panel("Missing more often than at training", RATIO,
              (Query("topk(10, max by (model, column) (dipper_feature_missing_ratio) - "
                     "max by (model, column) (dipper_feature_missing_reference_ratio))",
                     "{{model}} {{column}}"),), "bars", empty=_NO_REFERENCE),
        Panel("Applications in the drift window", COUNT,
              (Query("max by (model) (dipper_drift_window_rows)", "{{model}}"),), "number",
              empty=_NO_REFERENCE),
        Panel("Loans that have come to their end", COUNT,
              (Query("sum by (model) (dipper_matured_loans_total)", "{{model}}"),),
              empty=_NO_LOAN_ENDED),
        Panel("Bad loans, as foretold and as they came", COUNT,
              (Query("sum by (model) (dipper_matured_bad_loans_total)", "{{model}}, came"),
               Query("sum by (model) (dipper_matured_expected_bad_loans_total)",
                     "{{model}}, foretold")), empty=_NO_LOAN_ENDED),
        Panel("Bad rate over the mean PD, by band", COUNT,
              (Query("sum by (model, band) (dipper_matured_bad_loans_total) / "
                     "sum by (model, band) (dipper_matured_expected_bad_loans_total > 0)",
                     "{{model}} ≤ {{band}}"),), "bars", "1 where the probabilities are true.",
              empty=_NO_LOAN_ENDED),
        Panel("AUC by cohort", RATIO,
              (Query("max by (model, cohort) (dipper_auc_ratio)", "{{model}} {{cohort}}"),),
              empty=_NO_LOAN_ENDED),
        Panel("KS by cohort", RATIO,
              (Query("max by (model, cohort) (dipper_ks_ratio)", "{{model}} {{cohort}}"),),
              empty=_NO_LOAN_ENDED),
        Panel("Bad rate by vintage", RATIO,
              (Query("max by (model, cohort) (dipper_vintage_bad_loans) / "
                     "max by (model, cohort) (dipper_vintage_loans)", "{{model}} {{cohort}}"),),
              "bars", empty=_NO_LOAN_ENDED),
        Panel("Verdicts by arm of an experiment", PER_SECOND,
              (Query(_rate("dipper_arm_decided_total", "experiment, arm, verdict"),
                     "{{experiment}} {{arm}}, {{verdict}}"),),
              help="at_random: let in by chance below the cut-off, counted besides.",
              empty=_NO_EXPERIMENT),
        Panel("Approval rate, champion against challenger", RATIO,
              (Query('sum by (experiment, arm) (dipper_arm_decided_total{verdict="approved",'
                     'arm!="at_random"}) / sum by (experiment, arm) (dipper_arm_decided_total > 0)',
                     "{{experiment}} {{arm}}"),), empty=_NO_EXPERIMENT),
        Panel("Bad rate, champion against challenger", RATIO,
              (Query("sum by (experiment, arm) (dipper_arm_bad_loans_total) / "
                     "sum by (experiment, arm) (dipper_arm_matured_loans_total)",
                     "{{experiment}} {{arm}}, came"),
               Query("sum by (experiment, arm) (dipper_arm_expected_bad_loans_total) / "
                     "sum by (experiment, arm) (dipper_arm_matured_loans_total)",
                     "{{experiment}} {{arm}}, foretold")), "bars",
              help="Of loans that have come to their end.",
              empty=f"{_NO_EXPERIMENT}, or {_NO_LOAN_ENDED}"),
        Panel("Coverage of the shadow", RATIO,
              (Query('sum by (institution) (dipper_shadow_verdicts_total{'
                     'said=~"both|neither|only_live|only_shadow"}) / '
                     "sum by (institution) (dipper_shadow_verdicts_total > 0)",
                     "{{institution}}"),),
              help="Verdicts of which the shadow can say anything; the rest is lost, not agreed.",
              empty=_NO_SHADOW),
        Panel("Agreement with the shadow, where it speaks", RATIO,
              (Query('sum by (institution) (dipper_shadow_verdicts_total{said=~"both|neither"}) / '
                     'sum by (institution) (dipper_shadow_verdicts_total{'
                     'said=~"both|neither|only_live|only_shadow"} > 0)', "{{institution}}"),),
              empty=_NO_SHADOW),
        Panel("Where the shadow differs", PER_SECOND,
              (Query(_rate("dipper_shadow_verdicts_total", "said", 'said=~"only_.*"'),
                     "{{said}}"),), "stacked",
              help="only_live: approved, and the shadow would decline; only_shadow: the reverse.",
              empty=_NO_SHADOW),
    ),
)  # fmt: skip

_MINE = 'institution="$institution"'
INSTITUTION = Board(
    "dipper-institution", "dipper · Institution", "One lender's own view.",
    (
        Panel("Verdicts of your policies", PER_SECOND,
              (Query(_rate("dipper_judged_total", "outcome", _MINE), "{{outcome}}"),), "stacked"),
        Panel("Share of your verdicts that approve", RATIO,
              (Query(_rate("dipper_judged_total", "", _MINE + ',outcome="approved"') + " / "
                     + _rate("dipper_judged_total", "", _MINE), "approve"),)),
        Panel("Requests you won", PER_SECOND,
              (Query(_rate("dipper_approved_total", "", _MINE), "won"),)),
        Panel("Of requests you approved, won", RATIO,
              (Query(_rate("dipper_approved_total", "", _MINE) + " / "
                     + _rate("dipper_judged_total", "", _MINE + ',outcome="approved"'), "won"),)),
        Panel("Approved amount, a second", COUNT,
              (Query(_rate("dipper_approved_cents_total", "", _MINE) + " / 100", "amount"),)),
        Panel("Mean yearly cost of your approvals", RATIO,
              (Query(_rate("dipper_approved_apr_bps_total", "", _MINE) + " / "
                     + _rate("dipper_approved_total", "", _MINE) + " / 10000", "APR"),)),
        Panel("Mean probability of default of your approvals", RATIO,
              (Query(_rate("dipper_approved_pd_ppm_total", "", _MINE) + " / "
                     + _rate("dipper_approved_total", "", _MINE) + " / 1000000", "PD"),)),
        Panel("Your leases", COUNT,
              (Query(f"sum by (cap, pot) (dipper_lease_cents{{{_MINE}}}) / 100",
                     "{{cap}} {{pot}}"),)),
        Panel("Use of your caps", RATIO,
              (Query(f'sum by (cap) (dipper_lease_cents{{{_MINE},pot=~"reserved|drawn"}}) / '
                     f"max by (cap) (dipper_cap_cents{{{_MINE}}} > 0)", "{{cap}}"),)),
    ),
)  # fmt: skip

BOARDS = (PIPELINE, DECISIONS, FUNDING, MODELS, INSTITUTION)


def fill(expr: str, rate_interval: str, institution: str) -> str:
    """Return a query with Grafana's variables filled in, as Grafana would."""
    return expr.replace("$__rate_interval", rate_interval).replace("$institution", institution)
