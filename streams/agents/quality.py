"""Drift and outcomes as Faust agents: evidence and loans in, figures for a scrape out.

The figures are a fold over the kept log, as a partition's state is: each start reads both topics
from their beginning, under a group of its own that commits nothing of use to anybody. Nothing is
written, so nothing can be written twice. One such process is enough.
"""

import asyncio
from secrets import token_hex
from typing import Any

import orjson
from faust import Stream
from faust.types import StreamT

from monitoring.quality import DecisionQuality
from streams.agents.app import make_app
from streams.agents.caught import Caught
from streams.broker.client import Kind
from streams.control.keys import Verify
from streams.topology import EVENTS, EVIDENCE

_TOGETHER = 256  # records of evidence taken in at once
_WAIT_S = 0.5
_LOAN, _TICK = b'"loan"', b'"tick"'


class QualityAgents:
    """Feeds `quality`; `verify` checks ticks and our own loans, as the step does; `caught` hears
    how far they are.
    """

    def __init__(
        self,
        bootstrap: str,
        kind: Kind,
        quality: DecisionQuality,
        verify: Verify,
        caught: Caught,
    ) -> None:
        self._caught = caught
        self._quality = quality
        self._verify = verify
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None
        self.app = make_app(f"dipper-quality-{token_hex(4)}", bootstrap, kind)
        for topic, agent in ((EVIDENCE, self._on_evidence), (EVENTS, self._on_events)):
            stream = self.app.topic(topic.name, key_serializer="raw", value_serializer="raw")
            self.app.agent(stream, name=topic.name)(agent)

    async def _on_evidence(self, stream: StreamT[bytes]) -> None:
        assert isinstance(stream, Stream)
        try:
            async for events in stream.take_events(_TOGETHER, within=_WAIT_S):
                self._quality.on_evidence(b"".join(event.value or b"" for event in events))
                for event in events:
                    self._caught.reach(event.message.tp, event.message.offset)
        except Exception as error:
            self._fail(error)
            raise

    async def _on_events(self, stream: StreamT[bytes]) -> None:
        assert isinstance(stream, Stream)
        try:
            async for event in stream.events():
                at = event.message
                if event.value is not None:
                    self._on_event(at.partition, event.value, at.offset)
                self._caught.reach(at.tp, at.offset)
        except Exception as error:
            self._fail(error)
            raise

    def _on_event(self, partition: int, value: bytes, offset: int) -> None:
        # Most events are neither: their bytes say so without being read.
        if _LOAN not in value and _TICK not in value:
            return
        event = _object(value)
        kind = event.get("type")
        try:
            if kind == "tick" and self._verify(partition, value, offset):
                self._quality.on_tick(partition, int(event["at"]))
            elif kind == "loan" and "decision" in event and self._verify(partition, value, offset):
                self._quality.on_loan(partition, event)
        except (KeyError, TypeError, ValueError):
            return  # the step has refused it, too

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self.failed.set()


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
