"""`python -m tests.simulation`: seeds of workers in trouble, each repeated by its number alone.

    make sim ARGS="--seeds 200"             seeds 0 to 199, then the canaries
    make sim ARGS="--first 4711 --seeds 1"  one seed, with all that happened in it

Ends with 1 where a seed fails, or a canary is not caught.
"""

import argparse
import json
import logging
import subprocess
import sys

from tests.simulation.canaries import CANARIES
from tests.simulation.crew import catch, pool, run_chunk, run_seeds
from tests.simulation.seed import Failure
from tests.tidy.source import ROOT


def main() -> int:
    """Read the options, run, print the summary."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--summary", choices=("text", "json"), default="text")
    found = parser.parse_args()
    if found.seeds > 1:
        logging.disable()  # what workers say matters where one seed is looked at
    seeds = range(found.first, found.first + found.seeds)
    run_chunk([])  # kernels are compiled before processes want them
    failures: list[Failure] = []
    for failure in run_seeds(seeds, found.workers):
        _tell(failure)
        failures.append(failure)
    with pool(found.workers) as crew:
        caught = list(crew.map(catch, range(len(CANARIES)))) if found.seeds > 1 else []
    for canary, seed in zip(CANARIES, caught, strict=False):
        said = f"caught by seed {seed}" if seed is not None else "NOT CAUGHT"
        print(f"canary: {canary.rule}: {said}", file=sys.stderr)
    alive = sum(seed is None for seed in caught)
    summary = {"seeds": found.seeds, "failures": len(failures), "canary_caught": not alive}
    if found.summary == "json":
        print(json.dumps(summary))
    else:
        print("\n".join(f"{name:>14}  {value}" for name, value in summary.items()))
    return int(bool(failures or alive))


def _tell(failure: Failure) -> None:
    git = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(git, check=False, cwd=ROOT, capture_output=True, text=True)
    commit = done.stdout.strip()
    again = f'make sim ARGS="--first {failure.seed} --seeds 1"'
    print(f"seed {failure.seed} at {commit or 'no commit'}: {failure.what}", file=sys.stderr)
    print(f"  again: {again}", file=sys.stderr)
    for event in failure.events:
        print(f"  {event}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
