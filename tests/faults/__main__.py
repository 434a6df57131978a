"""`python -m tests.faults`: kills, stops and storms on real Kafka; then every record recomputed.

Ends with 1 where something was lost, repeated, or differs.
"""

import argparse
import json
import signal
import sys

from tests.faults.run import Options, run


def main() -> int:
    """Read the options, run, print the summary."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="faults, one after the other")
    parser.add_argument("--events", type=int, default=0, help="go on until so many are published")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds undisturbed at the end")
    parser.add_argument("--rate", type=float, default=2_000.0, help="events a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--summary", choices=("text", "json"), default="text")
    found = parser.parse_args()
    options = Options(
        found.rounds,
        found.events,
        found.soak,
        found.rate,
        found.workers,
        found.partitions,
        found.seed,
    )
    # Told to stop, it ends the workers and the broker that it started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        summary = run(options, lambda text: print(text, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        return 130
    if found.summary == "json":
        print(json.dumps(summary))
    else:
        print("\n".join(f"{name:>18}  {value}" for name, value in summary.items()))
    return int(any(summary[name] for name in ("lost", "duplicated", "differing", "unstable")))


if __name__ == "__main__":
    sys.exit(main())
