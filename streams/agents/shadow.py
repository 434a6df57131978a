"""Shadow as a Faust agent: evidence in, counts of what other policies would have said out.

As the figures of quality it is a fold over the kept topic: each start reads it from the beginning,
under a group of its own, and nothing is written. What is repeated counts once, by the decision.
"""

import asyncio
from secrets import token_hex

from faust import Stream
from faust.types import StreamT

from streams.agents.app import REMEMBERED_IDS, Remembered, make_app
from streams.agents.caught import Caught
from streams.broker.client import Kind
from streams.study.shadow import Seen, Shadow
from streams.topology import EVIDENCE

_TOGETHER = 256
_WAIT_S = 0.5
_ID_BYTES = 16  # with which a record begins: its decision's id


class ShadowAgent:
    """Feeds `shadow` with what stands on `dipper.evidence`; `caught` hears how far it is."""

    def __init__(self, bootstrap: str, kind: Kind, shadow: Shadow, caught: Caught) -> None:
        self._caught = caught
        self._shadow = shadow
        self._known = Remembered(REMEMBERED_IDS)
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None
        self.app = make_app(f"dipper-shadow-{token_hex(4)}", bootstrap, kind)
        topic = self.app.topic(EVIDENCE.name, key_serializer="raw", value_serializer="raw")
        self.app.agent(topic, name="shadow")(self._on_evidence)

    async def _on_evidence(self, stream: StreamT[bytes]) -> None:
        assert isinstance(stream, Stream)
        try:
            async for events in stream.take_events(_TOGETHER, within=_WAIT_S):
                seen = [Seen(event.key or b"", event.value or b"") for event in events]
                new = (each for each in seen if self._known.add(each.value[:_ID_BYTES]))
                self._shadow.take(new)
                for event in events:
                    self._caught.reach(event.message.tp, event.message.offset)
        except Exception as error:
            self.failure = error
            self.failed.set()
            raise
