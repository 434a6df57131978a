"""Which way imports go, and what the pure part must not touch: tables, read by test_imports.py."""

# From what knows nothing to what knows all; a unit imports from its own row or from rows above.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "streams.errors",
        "streams.ports",
        "streams.tasks",
        "streams.topology",
        "streams.limits",
        "streams.schema",
        "streams.wire",
        "streams.compile",
        "streams.intrinsics",
        "streams.kernel_cache",
        "streams.kernel_library",
        "streams.progress",
        "streams.counters",
    ),
    ("streams.buffers", "streams.blocks", "streams.gather", "streams.state", "streams.codec"),
    ("features",),
    ("models",),
    ("streams.funding", "streams.admit", "streams.ahead", "streams.record", "streams.count"),
    (
        "streams.step",
        "streams.wave",
        "streams.core",
        "streams.deployment",
        "streams.partition",
        "streams.evidence",
    ),
    (
        "streams.broker",
        "streams.commit",
        "monitoring",
        "streams.clock",
        "streams.config",
        "streams.versions",
        "streams.control.loans",
        "streams.control.keys",  # both doors check signatures and write control events in one form
        "streams.control.records",
        "streams.signals",
        "streams.skips",
        "streams.dump",
        "streams.frames",
        "streams.split",
        "streams.sources",
        "streams.snapshot",
        "streams.handover",
    ),
    (
        "streams.recover",
        "streams.adopt",
        "streams.keep",
        "streams.show",
        "streams.serving",
        "streams.second_compiler",
        "streams.live",
        "streams.replay",
        "streams.resize",
        "streams.explain",
    ),
    (
        "models.train",
        "streams.control",
        "streams.archive",
        "streams.agents",
        "streams.study",
        "streams.importing",
        "streams.simulate",
        "streams.demo",
        "streams.bench",
        "streams.fees",
        "streams.reasons",
        "streams.change",
        "streams.onboarding",
        "streams.explain",
        "streams.options",
        "streams.commands",
        "streams.cli",
        "streams.__main__",
    ),
)

# The package marker itself holds a docstring only.
FREE = frozenset({"streams"})

PURE = (
    "features",
    "models",
    "streams.state",
    "streams.codec",
    "streams.funding",
    "streams.admit",
    "streams.record",
    "streams.step",
    "streams.wave",
    "streams.core",
    "streams.counters",
    "streams.count",
)
NOT_PURE = ("models.train", "models.lean_lightgbm")

BANNED_IMPORTS = {
    "time": "take the event's own `at`, or the partition's last tick",
    "random": "decide by a keyed hash of the applicant; simulate outside of the pure part",
    "secrets": "keys come in by configuration",
    "uuid": "ids are keyed hashes of what they name",
    "os": "a door reads the environment and hands the value in",
    "logging": "return a reason code and count it; a door says it",
    "aiokafka": "bytes come in and go out; streams/broker talks to Kafka",
    "kafka": "bytes come in and go out; streams/broker talks to Kafka",
    "faust": "agents stand in streams/agents",
    "monitoring": "fill a counter array; monitoring reads it",
    "lightgbm": "models/train learns, by models/lean_lightgbm.py; the path scores its trees",
    "optbinning": "models/train uses it; the path adds up points",
    "threading": "one partition is one thread",
    "asyncio": "only doors wait",
}

# Their last bits differ between machines and libraries, and so would a decision's bytes.
_INEXACT = "exp exp2 expm1 log log10 log1p log2 pow power sin cos tan tanh"
BANNED_CALLS = dict.fromkeys(
    _INEXACT.split(), "thresholds made at training, and + − × ÷ √ on the path"
) | {
    "hash": "Python salts it by process; take the keyed hash of streams/state",
    "prange": "threads would reorder sums; a kernel is one thread",
}
