"""`make fuzz`: the whole size, each kind in turn, with its time.

Run as a program: `python -m tests.fuzz.run --scanner 10000000 --others 1000000 --seed 1`.
"""

import argparse
import sys
import time

from tests.fuzz.kinds import KINDS, run_kind
from tests.fuzz.scanner import fuzz_scanner

_CHUNK = 1_000_000


def main(arguments: list[str]) -> int:
    """Fuzz and print a line a kind; a fault ends it with its input."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--scanner", type=int, default=10_000_000)
    parser.add_argument("--others", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="one kind")
    chosen = parser.parse_args(arguments)
    if chosen.only in {"", "scanner"} and chosen.scanner:
        fuzz_scanner(1_000, 0)  # compiles
        began, done, taken = time.process_time(), 0, 0
        while done < chosen.scanner:
            size = min(_CHUNK, chosen.scanner - done)
            found = fuzz_scanner(size, chosen.seed * 1_000_003 + done)
            done, taken = done + found.inputs, taken + found.taken
        _tell("scanner", done, taken, time.process_time() - began)
    for kind in KINDS:
        if chosen.only in {"", kind.name} and chosen.others:
            began = time.process_time()
            accepted = run_kind(kind, chosen.others, chosen.seed)
            _tell(kind.name, chosen.others, accepted, time.process_time() - began)
    return 0


def _tell(name: str, inputs: int, accepted: int, seconds: float) -> None:
    each = 1e6 * seconds / inputs
    print(
        f"{name}: {inputs:,} inputs, {accepted:,} accepted, 0 faults, {seconds:.0f} s of CPU "
        f"({each:.1f} µs each)",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
