"""Golden bytes: one stored log gives one result, on any processor, compiled or not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.digest import digest, read_log

pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).resolve().parents[2]

# Of all rows of log.jsonl, and of its first FEW. They change only where decisions are meant to
# change; the manifest's hash is not part of them.
GOLDEN = "58fe4525f1ab63f93a0909ecdbd5137f81c0236608e4fcb9344da06c4cfd8a73"
GOLDEN_FEW = "2e6b35f24e31efc2252028e0d4f38f55b69b1ece0b79d96f0f7ff02c967f0a8e"
FEW = 60


def _digest_by(rows: int, **environment: str) -> str:
    """Return the digest that another process finds under these settings."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.golden.digest", str(rows)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_stored_log_gives_its_golden_bytes() -> None:
    """What was decided once is decided again, byte for byte."""
    assert len(read_log()) == 400
    assert digest(400) == GOLDEN
    assert digest(FEW) == GOLDEN_FEW


def test_a_plain_processor_gives_the_same_bytes() -> None:
    """Compiled for the plainest processor of its kind, without its vector units, nothing changes:
    no fused or reordered arithmetic is in a decision.
    """
    assert _digest_by(400, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == GOLDEN


def test_no_compilation_gives_the_same_bytes() -> None:
    """Plain Python over the same arrays decides as the machine code does."""
    assert _digest_by(FEW, NUMBA_DISABLE_JIT="1") == GOLDEN_FEW
