"""Decide several records at once: one call of LightGBM for all requests among them."""

from collections.abc import Iterable, MutableMapping

import numpy as np
import orjson

from tests.bench.peers.lender import Ask, Lender, Person, new_person


class FullBatch:
    """One partition of the full job, for frameworks that hand over many records at once.

    `people` is where applicants' dicts are kept; those that changed are put back there.
    """

    def __init__(
        self,
        lender: Lender,
        people: MutableMapping[bytes, Person] | None = None,
    ) -> None:
        self._lender = lender
        self._people: MutableMapping[bytes, Person] = {} if people is None else people
        self._waiting: dict[bytes, Ask] = {}
        self._written: list[tuple[bytes, bytes]] = []

    def run(self, records: Iterable[tuple[bytes | None, int, bytes]]) -> list[tuple[bytes, bytes]]:
        """Take (key, offset, value) in log order; return (key, decision)."""
        for key, offset, value in records:
            event = orjson.loads(value)
            if key is None:
                self._lender.control(event)
                continue
            if key in self._waiting:
                self._answer()  # what is decided there may change what is known here
            person = self._people.get(key) or new_person()
            ask = self._lender.see(event, offset, person)
            if ask is None:
                self._people[key] = person
            else:
                self._waiting[key] = ask
        self._answer()
        written, self._written = self._written, []
        return written

    def _answer(self) -> None:
        asks, self._waiting = self._waiting, {}
        rows = [ask.row for ask in asks.values() if ask.row is not None]
        scores = iter(self._lender.predict(np.vstack(rows)) if rows else ())
        for key, ask in asks.items():
            raw = None if ask.row is None else next(scores)
            self._written.append((key, self._lender.answer(ask, raw)))
            self._people[key] = ask.person
