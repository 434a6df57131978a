"""Every metric of dipper in one list: name, help, labels; docs and dashboards name these.

Names follow the conventions of Prometheus: counters end in `_total`, times are seconds, shares are
ratios of 0 to 1; money is in cents, as everywhere here. Values of labels come from the deployment's
own files (institutions, products, channels) and from lists in the code, never from an event: their
number is bounded by what is configured. A combination of several names is shown from its first
count on (`decided_by_product`), all else from the start.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from streams import counters
from streams.counters import Dimensions

Process = Literal["worker", "control", "agents", "keeper", "archiver"]
Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One metric: its name as a query writes it (without _bucket, _sum, _count), what it tells, its
    labels, its kind, the stage of `streams.topology` it belongs to, the process that shows it.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: Kind = "gauge"
    stage: str = ""
    process: Process = "worker"


_BY_PARTITION = ("partition",)

OFFSET = Metric("dipper_partition_offset", "Next offset to be decided", _BY_PARTITION)
COMMITTED = Metric(
    "dipper_partition_committed_offset", "Offset that the group has committed", _BY_PARTITION
)
END = Metric("dipper_partition_end_offset", "Offset after the log's last record", _BY_PARTITION)
LAG = Metric(
    "dipper_partition_lag_records", "Records of the log that are not committed", _BY_PARTITION,
    stage="intake",
)  # fmt: skip
TIME = Metric(
    "dipper_partition_time_seconds", "Partition time: the last accepted tick, epoch seconds",
    _BY_PARTITION, stage="admit",
)  # fmt: skip
READY = Metric(
    "dipper_partition_ready", "1 once the log is folded and requests are decided", _BY_PARTITION
)
HALTED = Metric(
    "dipper_partition_halted", "1 where the step failed an assertion and stands still",
    _BY_PARTITION,
)  # fmt: skip
TABLE_ROWS = Metric(
    "dipper_table_rows", "Rows taken of a table", ("partition", "table"), stage="enrich"
)
TABLE_CAPACITY = Metric(
    "dipper_table_capacity_rows", "Rows that a table has", ("partition", "table"), stage="enrich"
)
LEASE = Metric(
    "dipper_lease_cents", "Leases of the partitions held here, by what has become of them",
    ("institution", "cap", "pot"), stage="reserve",
)  # fmt: skip
SEGMENT_CAP = Metric(
    "dipper_segment_cap_cents", "Shares that the partitions held here have of a cap by day or "
    "segment", ("institution", "segment"), stage="reserve",
)  # fmt: skip
SEGMENT_USED = Metric(
    "dipper_segment_used_cents", "Promised and lent on them; of a cap by day, on the day of "
    "partition time", ("institution", "segment"), stage="reserve",
)  # fmt: skip
STAGE_SECONDS = Metric(
    "dipper_stage_seconds", "How long a stage takes for a batch; step is stages 2 to 10",
    ("stage",), "histogram",
)  # fmt: skip
RECORD_SECONDS = Metric(
    "dipper_record_seconds", "From a record taken from Kafka to its batch committed, by record",
    (), "histogram", "commit",
)  # fmt: skip
BATCH_RECORDS = Metric("dipper_batch_records", "Records of a batch", (), "histogram", "intake")
COMMITS = Metric("dipper_commits_total", "Batches committed", (), "counter", "commit")
ABORTS = Metric(
    "dipper_aborts_total", "Batches decided that could not be written", (), "counter", "commit"
)
FENCES = Metric(
    "dipper_fences_total", "Batches refused since the partition is another worker's", (),
    "counter", "commit",
)  # fmt: skip
REBALANCES = Metric("dipper_rebalances_total", "Times the partitions were dealt", (), "counter")
RECOVERY_SECONDS = Metric(
    "dipper_recovery_seconds", "From a partition assigned to ready", (), "histogram"
)
RECOVERY_SKIPS = Metric(
    "dipper_recovery_snapshots_skipped_total",
    "Snapshots that a worker passed over as it recovered: corrupt, or not to be read",
    _BY_PARTITION, "counter",
)  # fmt: skip
INFO = Metric("dipper_build_info", "1, with what runs here", ("version", "manifest"))

DOOR_METRICS = (
    OFFSET, COMMITTED, END, LAG, TIME, READY, HALTED, TABLE_ROWS, TABLE_CAPACITY, LEASE,
    SEGMENT_CAP, SEGMENT_USED, STAGE_SECONDS, RECORD_SECONDS, BATCH_RECORDS, COMMITS, ABORTS,
    FENCES, REBALANCES, RECOVERY_SECONDS, RECOVERY_SKIPS, INFO,
)  # fmt: skip

TICKS = Metric("dipper_control_ticks_total", "Ticks written", (), "counter", "admit", "control")
CAP = Metric(
    "dipper_cap_cents", "What an institution allows at most", ("institution", "cap"), "gauge",
    "reserve", "control",
)  # fmt: skip
CONTROL_METRICS = (TICKS, CAP)

FOLLOWED = Metric(
    "dipper_followed_offset", "Offset up to which the follower has folded the log", _BY_PARTITION,
    process="keeper",
)  # fmt: skip
SNAPSHOT_OFFSET = Metric(
    "dipper_snapshot_offset", "Offset of the newest snapshot", _BY_PARTITION, process="keeper"
)
SNAPSHOT_TIME = Metric(
    "dipper_snapshot_time_seconds", "Partition time of the newest snapshot, epoch seconds",
    _BY_PARTITION, process="keeper",
)  # fmt: skip
SNAPSHOT_FAILURES = Metric(
    "dipper_snapshot_failures_total", "Snapshots that could not be written", _BY_PARTITION,
    "counter", process="keeper",
)  # fmt: skip
SNAPSHOTS_SKIPPED = Metric(
    "dipper_snapshots_skipped_total", "Snapshots passed over: corrupt, or not to be read",
    _BY_PARTITION, "counter", process="keeper",
)  # fmt: skip
KEEPER_METRICS = (FOLLOWED, SNAPSHOT_OFFSET, SNAPSHOT_TIME, SNAPSHOT_FAILURES, SNAPSHOTS_SKIPPED)

_BY_LOG = ("topic", "partition")


def _archiver(
    name: str, help: str, kind: Kind = "gauge", labels: tuple[str, ...] = _BY_LOG
) -> Metric:
    return Metric(name, help, labels, kind, process="archiver")


ARCHIVE_OFFSET = _archiver(
    "dipper_archive_offset", "Offset before which all is archived, without a gap"
)
ARCHIVE_LOG_START = _archiver(
    "dipper_archive_log_start_offset",
    "First offset that the broker still has; above dipper_archive_offset: records are lost",
)
ARCHIVE_LOG_END = _archiver(
    "dipper_archive_log_end_offset", "Offset after the last record that could be archived"
)
ARCHIVE_LAG = _archiver(
    "dipper_archive_lag_seconds",
    "For how long at most a record waits for the archive: its age by its own time while it is "
    "copied, else the time since all that stood was archived",
)
ARCHIVE_FAILURES = _archiver(
    "dipper_archive_failures_total", "Runs of the archiver that failed", "counter", ()
)
ARCHIVER_METRICS = (
    ARCHIVE_OFFSET, ARCHIVE_LOG_START, ARCHIVE_LOG_END, ARCHIVE_LAG, ARCHIVE_FAILURES,
)  # fmt: skip


def _agents(name: str, help: str, labels: tuple[str, ...], kind: Kind, stage: str = "") -> Metric:
    return Metric(name, help, labels, kind, stage, "agents")


WATCHED = _agents(
    "dipper_watched_decisions_total", "Decisions whose evidence was read, repeats apart",
    ("result",), "counter",
)  # fmt: skip
NOTICES = _agents(
    "dipper_notices_total", "Notices sent, repeats left out, decisions that could not be read",
    ("result",), "counter",
)  # fmt: skip
FEES = _agents(
    "dipper_offered_fee_cents_total", "Fees of approved offers, cents", ("institution",), "counter",
    "reserve",
)  # fmt: skip
SEGMENTS = _agents(
    "dipper_segment_decided_total", "Applications decided, by a category that they state",
    ("attribute", "value", "verdict"), "counter", "decide",
)  # fmt: skip
_COLUMN = ("model", "column")
DRIFT_ROWS = _agents(
    "dipper_drift_window_rows", "Applications that drift figures are of", ("model",), "gauge"
)
PSI = _agents(
    "dipper_psi", "Population stability index against the model's reference, by feature and score",
    _COLUMN, "gauge", "derive",
)  # fmt: skip
PSI_NOISE = _agents(
    "dipper_psi_noise", "PSI that one in 1,000 windows of this size exceeds without any drift",
    _COLUMN, "gauge", "derive",
)  # fmt: skip
FEATURE_MISSING = _agents(
    "dipper_feature_missing_ratio", "Share of applications without the feature", _COLUMN, "gauge",
    "derive",
)  # fmt: skip
FEATURE_MISSING_REFERENCE = _agents(
    "dipper_feature_missing_reference_ratio", "The same share at training", _COLUMN, "gauge",
    "derive",
)  # fmt: skip
_BAND = ("model", "band")
MATURED = _agents(
    "dipper_matured_loans_total", "Loans whose outcome is known, by upper edge of their PD",
    _BAND, "counter", "score",
)  # fmt: skip
MATURED_BAD = _agents(
    "dipper_matured_bad_loans_total", "Of these, loans that went bad", _BAND, "counter", "score"
)
MATURED_EXPECTED = _agents(
    "dipper_matured_expected_bad_loans_total", "Of these, bad loans that the PDs foretold",
    _BAND, "counter", "score",
)  # fmt: skip
MATURED_VARIANCE = _agents(
    "dipper_matured_variance_loans_total", "Variance of that number if the PDs are true",
    _BAND, "counter", "score",
)  # fmt: skip
_COHORT = ("model", "cohort")
VINTAGE = _agents(
    "dipper_vintage_loans", "Loans whose outcome is known, by month of decision", _COHORT, "gauge"
)
VINTAGE_BAD = _agents("dipper_vintage_bad_loans", "Of these, bad ones", _COHORT, "gauge")
AUC = _agents(
    "dipper_auc_ratio", "Area under the ROC curve on known outcomes", _COHORT, "gauge", "score"
)
KS = _agents(
    "dipper_ks_ratio", "Kolmogorov-Smirnov gap on known outcomes", _COHORT, "gauge", "score"
)
_ARM = ("institution", "experiment", "arm")
ARM_DECIDED = _agents(
    "dipper_arm_decided_total", "Verdicts of an experiment by arm; at_random: let in below the "
    "cut-off, besides", (*_ARM, "verdict"), "counter", "decide",
)  # fmt: skip
ARM_MATURED = _agents(
    "dipper_arm_matured_loans_total", "Loans of an arm whose outcome is known", _ARM, "counter"
)
ARM_BAD = _agents("dipper_arm_bad_loans_total", "Of these, loans that went bad", _ARM, "counter")
ARM_EXPECTED = _agents(
    "dipper_arm_expected_bad_loans_total", "Of these, bad loans that the PDs foretold", _ARM,
    "counter", "score",
)  # fmt: skip
SHADOW = _agents(
    "dipper_shadow_verdicts_total", "Verdicts by what a shadow says of them; error, empty and "
    "absent: it could not speak", ("institution", "said"), "counter", "decide",
)  # fmt: skip
AGENT_METRICS = (
    WATCHED, NOTICES, FEES, SEGMENTS, DRIFT_ROWS, PSI, PSI_NOISE, FEATURE_MISSING,
    FEATURE_MISSING_REFERENCE, MATURED, MATURED_BAD, MATURED_EXPECTED, MATURED_VARIANCE, VINTAGE,
    VINTAGE_BAD, AUC, KS, ARM_DECIDED, ARM_MATURED, ARM_BAD, ARM_EXPECTED, SHADOW,
)  # fmt: skip


def step_metric(family: counters.Family) -> Metric:
    """Return the metric of one family of the step's counters."""
    if family.edges:
        return Metric(
            f"dipper_{family.name}", family.help, family.labels, "histogram", family.stage
        )
    return Metric(
        f"dipper_{family.name}_total", family.help, family.labels, "counter", family.stage
    )


def step_metrics() -> Iterator[Metric]:
    """Yield the metrics of the step's counters, whatever a deployment names."""
    for family in counters.layout(Dimensions((), (), (), ())):
        yield step_metric(family)


def all_metrics() -> tuple[Metric, ...]:
    """Return every metric of every process."""
    return (
        *step_metrics(), *DOOR_METRICS, *CONTROL_METRICS, *KEEPER_METRICS, *ARCHIVER_METRICS,
        *AGENT_METRICS,
    )  # fmt: skip
