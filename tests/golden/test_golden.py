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
GOLDEN = "bef608eccb6043287e45753d764b6f6b0b3962308e435e3ba484e6cc1e01d707"
GOLDEN_FEW = "a2f41dc467921841802c0a44eb5448c44237088d3e534731f10c029d36508cb9"
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
