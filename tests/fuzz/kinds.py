"""What is fuzzed, one row a kind: good samples, and what any bytes must give.

A kind's `check` takes some bytes and returns whether they were accepted; anything that it raises
but the refusals that its module documents is a fault.
"""

import os
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from crc32c import crc32c
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.calibrate import parse_calibration
from models.errors import ModelError
from models.lightgbm_text import parse_lightgbm_text
from models.policy.bands import read_bands
from models.policy.documents import read_document
from models.policy.errors import PolicyError
from models.policy.expression import Column, ExpressionError, parse
from models.policy.policy import Policy
from models.scorecard import compile_scorecard, parse_scorecard
from models.trees import compile_trees
from streams import clock
from streams.broker.inflate import INFLATED_BYTES_MAX
from streams.broker.reader import Reader
from streams.buffers import make_batch
from streams.control.keys import Trusted, verifier
from streams.control.loans import sign_loans, stamp
from streams.control.records import Share, grant, read_position, signed, tick
from streams.errors import CorruptBatchError, DipperError
from streams.ports import Fetched
from streams.schema import Cap
from tests.fuzz import stored
from tests.streams.broker.kafka_twin import PLACE, SIZE, Given, build
from tests.tidy.source import ROOT

_EXAMPLES = ROOT / "examples" / "policies"
_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Kind(NamedTuple):
    """One kind of input; `fragments` are put into samples besides the usual ones."""

    name: str
    samples: Callable[[], Sequence[bytes]]
    check: Callable[[bytes], bool]
    fragments: Sequence[bytes] = ()


class _Bytes(type(Path())):  # type: ignore[misc]  # a path is one of two classes, by system
    """A file that is only its bytes."""

    data = b""

    def read_bytes(self) -> bytes:
        """Return what the file would hold."""
        return self.data


_FILE = _Bytes("fuzz.toml")


def _policy(data: bytes) -> bool:
    _FILE.data = data
    try:
        read_document(_FILE, Policy)
    except PolicyError:
        return False
    return True


def _bands(data: bytes) -> bool:
    try:
        read_bands(Path("fuzz.csv"), data)
    except PolicyError:
        return False
    return True


_COLUMNS = {name: Column(0, row, None) for row, name in enumerate(("age_years", "worst_dpd_days"))}
_COLUMNS["region"] = Column(0, 2, {"north": 0, "south": 1})


def _rule(data: bytes) -> bool:
    try:
        parse(data.decode(errors="replace"), _COLUMNS)
    except ExpressionError:
        return False
    return True


def _trees(data: bytes) -> bool:
    try:
        model = parse_lightgbm_text(Path("fuzz.txt"), data)
    except ModelError:
        return False
    compile_trees(model, list(range(len(model.feature_names))))
    return True


def _card(data: bytes) -> bool:
    try:
        features = parse_scorecard(Path("fuzz.csv"), data)
    except ModelError:
        return False
    compile_scorecard(features, list(range(len(features))))
    return True


def _calibration(data: bytes) -> bool:
    try:
        parse_calibration(Path("fuzz.csv"), data)
    except ModelError:
        return False
    return True


_VERIFY = verifier([Trusted(_KEY.public_key())])


def _control(data: bytes) -> bool:
    """Bytes verify only where they are, to the byte, what was signed; each reader has an answer."""
    good = _VERIFY(0, data, 0)
    assert good == (data in _SIGNED), data
    read_position(data)
    clock.read_message(data)
    try:
        key, record = stamp(data, "dawn")
    except DipperError:
        return good
    assert key
    assert stamp(record, "dawn") == (key, record)
    return True


def _control_samples() -> list[bytes]:
    loans = [
        b'{"type":"loan","id":"l%d","applicant":"a","at":%d,"loan":"L","step":"payment"}' % (n, n)
        for n in range(5)
    ]
    share = Share("dawn", Cap.OUTSTANDING, 500)
    return [
        signed(tick(0, 1, 1_700_000_000_000), _KEY.sign),
        signed(grant(0, 2, share), _KEY.sign),
        *sign_loans(loans, _KEY.sign),
        *sign_loans(loans[:1], _KEY.sign),
    ]


_SIGNED = frozenset(_control_samples())


_BATCH = make_batch(SIZE)
_INFLATED = np.zeros(INFLATED_BYTES_MAX, np.uint8)


def _batches(data: bytes) -> bool:
    """Bytes of a fetch give rows in order or one error; with a CRC that fits, too, since a hostile
    producer makes its own.
    """
    mended = bytearray(data)
    if len(mended) > 21:
        mended[17:21] = crc32c(mended[21:]).to_bytes(4, "big")
    taken = 0
    for fetched in (data, bytes(mended)):
        reader = Reader(PLACE)
        reader._inflated = _INFLATED
        reader.seek(0)
        reader.feed(Fetched(0, fetched, (), 2**62))
        _BATCH.used[:] = 0
        before = -1
        try:
            while reader.fill(_BATCH):
                rows = int(_BATCH.used[0])
                offsets = _BATCH.offset[:rows]
                assert (np.diff(offsets, prepend=before) > 0).all()
                assert rows or reader.refused is not None
                before = max(before, reader.position - 1)
                taken += rows
                _BATCH.used[:] = 0
        except CorruptBatchError:
            continue
    return taken > 0


def _batch_samples() -> list[bytes]:
    rows = [
        Given(b"p%d" % n, b'{"type":"activity","n":%d}' % n, (("h", b"x"),) * (n % 3))
        for n in range(6)
    ]
    rows += [Given(None, None), Given(b"", b"")]
    return [build(rows, 7, codec=codec) for codec in range(5)] + [build(rows) + build(rows[:2], 8)]


def _files(*patterns: str) -> Callable[[], list[bytes]]:
    def read() -> list[bytes]:
        found = [path for pattern in patterns for path in sorted(_EXAMPLES.glob(pattern))]
        assert found, patterns
        return [path.read_bytes() for path in found]

    return read


def _small_model() -> list[bytes]:
    """Return a LightGBM text of two small trees, one with a category: edits then hit structure."""
    from models.lean_lightgbm import lgb

    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 3))
    x[:, 2] = rng.integers(0, 6, 300)
    y = (x[:, 0] + (x[:, 2] == 3) > 0.3).astype(int)
    data = lgb.Dataset(x, y, categorical_feature=[2], params={"verbose": -1})
    settings = {"objective": "binary", "num_leaves": 5, "verbose": -1, "min_data_per_group": 5}
    return [lgb.train(settings, data, 2).model_to_string().encode()]


_RULES = [
    b"worst_dpd_days > 30", b'region in ["north", "south"] and not age_years < 18',
    b"age_years between 18 and 65 or worst_dpd_days is missing", b"(age_years >= 1.5)",
]  # fmt: skip
_CARD = b"feature,from,to,points\nage_years,missing,,0\nage_years,,30,0\nage_years,30,,-30\n"

KINDS = (
    Kind("policy", _files("institutions/*/*.toml"), _policy, (b"[[", b"'''", b"=", b"1979-05-27")),
    Kind("bands", _files("institutions/*/*.csv"), _bands, (b",", b"\n", b'"', b";")),
    Kind("rule", lambda: _RULES, _rule, (b"not ", b"(", b")", b" and ", b"[", b"is missing")),
    Kind("trees", _small_model, _trees, (b"=", b" ", b"-1", b"nan", b"inf", b"Tree=0", b"\n")),
    Kind("scorecard", lambda: [_CARD], _card, (b",", b"\n", b"missing", b"nan", b"inf")),
    Kind("calibration", _files("models/*/calibration.csv"), _calibration, (b",", b"\n", b"inf")),
    Kind("batches", _batch_samples, _batches, (b"\xff" * 4, b"\x80" * 9, b"\x01", b"\x7f" * 4)),
    Kind("snapshot", stored.image_samples, stored.check_image, (b"DIPSNAP1", b"\0" * 8)),
    Kind("footer", stored.footer_samples, stored.check_footer, (b"-1", b",", b"[", b'"ids"')),
    Kind("manifest", stored.manifest_samples, stored.check_manifest, (b"[]", b'""', b":", b",")),
    Kind("control", _control_samples, _control, (b',"signature":"', b"=", b"AAAA")),
)

_COMMON = [
    b"", b"\0", b"\xff", b"\xe5\x8c\x97", b'"', b"\\", b"{", b"}", b"-", b"0", b"1e400", b"null",
    b"99999999999999999999", b"\r\n", b"#",
]  # fmt: skip


def mutants(kind: Kind, count: int, seed: int) -> "Any":
    """Yield inputs of a kind, the good samples first; a seed gives the same ones again."""
    generator = random.Random(f"{kind.name}:{seed}")
    samples = list(kind.samples())
    fragments = [*_COMMON, *kind.fragments]
    yield from samples[:count]
    for _ in range(count - len(samples)):
        value = bytearray(generator.choice(samples))
        for _ in range(generator.choice((1, 1, 2, 4))):
            at = generator.randrange(len(value) + 1)
            cut = generator.choice((0, 0, 1, 1, 6, 60))
            put = generator.choice((generator.choice(fragments), generator.randbytes(1)))
            value[at : at + cut] = put
            if generator.random() < 0.05:
                other = generator.choice(samples)
                value[at:] = other[generator.randrange(len(other) + 1) :]
        yield bytes(value)


def run_kind(kind: Kind, count: int, seed: int) -> int:
    """Check so many inputs; return how many were accepted. A fault names the input in a file."""
    accepted = 0
    for value in mutants(kind, count, seed):
        try:
            accepted += kind.check(value)
        except BaseException:
            handle, name = tempfile.mkstemp(prefix=f"dipper-fuzz-{kind.name}-")
            os.write(handle, value)
            os.close(handle)
            print(f"{kind.name}: the input that fails stands in {name}")
            raise
    return accepted
