"""A month of the simulated world, decided hour by hour in this process, as workers would.

The log that comes of it is a true one: grants, ticks, commands and loan events bear control's own
signatures, so `dipper replay` takes it, and nothing here is known to the step.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import polars as pl

from streams.blocks import make_block
from streams.broker.publish import partition_of
from streams.config import load_deployment
from streams.control.keys import load_private_key, load_trusted, verifier
from streams.control.loans import BATCH_MAX, sign_loans
from streams.control.records import Command, ControlLog, Entry, Order, Position, Share
from streams.partition import Output, Partition
from streams.schema import Cap
from streams.simulate.world import Record, World
from streams.step import Step
from streams.topology import OUT_DEAD_LETTER, OUT_DECISION, OUT_FUNDING
from streams.versions import with_versions

LOG = pl.Schema({"partition": pl.Int64, "offset": pl.Int64, "key": pl.Binary, "value": pl.Binary})


class Place(NamedTuple):
    """Where a command stands in each partition: the offset of its record."""

    offsets: tuple[int, ...]


class Month:
    """Partitions under a deployment, fed by a world; keeps the log and the outputs."""

    def __init__(self, config: Path, world: World, partitions: int) -> None:
        deployment = with_versions(load_deployment(config))
        verify = verifier(load_trusted(config))
        self.ours = frozenset(deployment.institution_ids)
        self.world = world
        self.rows: list[tuple[int, int, bytes | None, bytes | None]] = []
        self.outputs: dict[int, list[Output]] = {
            topic: [] for topic in (OUT_DECISION, OUT_FUNDING, OUT_DEAD_LETTER)
        }
        self._sign = load_private_key(config).sign
        self._control = ControlLog(self._sign, deployment.caps, [Position()] * partitions)
        self._lanes = [
            Partition(Step(deployment, n, partitions, verify)) for n in range(partitions)
        ]
        self._offsets = [0] * partitions
        self._decided = 0
        for entry in self._control.grants():
            self._put(*entry)

    def until(self, at: int) -> None:
        """Let the world and the partitions live up to a time, epoch ms."""
        for entry in self._control.ticks(at):
            self._put(*entry)
        for record in self._signed(self.world.next_events(at)):
            assert record.key is not None
            self._put(partition_of(record.key, len(self._lanes)), record.value, record.key)
        self._decide()

    def tell(self, verb: str, what: str) -> Place:
        """Tell every partition a command of control; return where it stands."""
        return self._write(list(self._control.commands(Command(verb, what))))

    def change_cap(self, institution: str, cap: Cap, cents: int) -> Place:
        """Grant more of a cap (or, below nothing, recall some), an equal part to each partition."""
        verb = "grant" if cents > 0 else "recall"
        share = Share(institution, cap, abs(cents) // len(self._lanes))
        orders = [Order(number, verb, share) for number in range(len(self._lanes))]
        return self._write(list(self._control.orders(orders)))

    def log(self) -> pl.DataFrame:
        """Return the log as `dipper replay` takes it."""
        return pl.DataFrame(self.rows, schema=LOG, orient="row")

    def lines(self, topic: int) -> bytes:
        """Return the records of an output as JSON Lines."""
        return b"".join((each.value or b"") + b"\n" for each in self.outputs[topic])

    def refused(self) -> set[tuple[int, int]]:
        """Return partition and offset of each dead letter."""
        told = (dict(each.headers) for each in self.outputs[OUT_DEAD_LETTER])
        return {(int(each["partition"]), int(each["offset"])) for each in told}

    def _write(self, entries: list[Entry]) -> Place:
        offsets = tuple(self._offsets)
        for entry in entries:
            self._put(*entry)
        self._decide()
        return Place(offsets)

    def _put(self, number: int, value: bytes | None, key: bytes | None = None) -> None:
        self.rows.append((number, self._offsets[number], key, value))
        self._offsets[number] += 1

    def _decide(self) -> None:
        """Decide what has been put since the last time."""
        if self._decided == len(self.rows):
            return
        numbers, offsets, keys, values = zip(*self.rows[self._decided :], strict=True)
        self._decided = len(self.rows)
        block = make_block(np.array(numbers), offsets, keys, values)
        for lane in self._lanes:
            for output in lane.decide_block(block):
                if output.topic in self.outputs:
                    self.outputs[output.topic].append(output)
                if output.topic == OUT_DECISION:
                    assert output.value is not None
                    self.world.on_decision(orjson.loads(output.value))

    def _signed(self, records: list[Record]) -> list[Record]:
        """Sign what institutions say of their own loans, as control does for their ingress."""
        own = [n for n, record in enumerate(records) if self._is_own_loan(record.value or b"")]
        for first in range(0, len(own), BATCH_MAX):
            batch = own[first : first + BATCH_MAX]
            values = [records[n].value or b"" for n in batch]
            for n, value in zip(batch, sign_loans(values, self._sign), strict=True):
                records[n] = records[n]._replace(value=value)
        return records

    def _is_own_loan(self, value: bytes) -> bool:
        return b'"type":"loan"' in value and orjson.loads(value)["issuer"] in self.ours
