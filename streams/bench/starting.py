"""A worker up to its group, and no further: `python -m streams.bench.starting CONFIG`."""

import sys

from streams.config import load_deployment
from streams.live import warm_up
from streams.step import Step

if __name__ == "__main__":
    deployment = load_deployment(sys.argv[1])
    warm_up(Step(deployment, 0, 1, lambda _partition, _value, _offset: True))
