"""A proxy before Apache Kafka that loses what a test says, on loopback; frames, not streams."""

import asyncio
import struct
from contextlib import suppress
from typing import Literal, Self

END_TXN = 26  # https://kafka.apache.org/protocol#protocol_api_keys
FETCH = 1
# What becomes of a request of one kind and of its answer. "cut" ends the connection.
Fault = Literal["lose answer and cut", "lose answer", "lose request and cut", "hold request"]


class Proxy:
    """`async with Proxy("127.0.0.1:9092") as proxy:`; clients take `proxy.bootstrap`.

    `faults[key]` is what happens to the next `times[key]` requests of that kind, `met` counts them;
    `corrupt` is text of which one byte is changed wherever a broker sends it.
    """

    def __init__(self, bootstrap: str) -> None:
        host, port = bootstrap.rsplit(":", 1)
        self._host, self._port = host, int(port)
        self.bootstrap = ""
        self.faults: dict[int, Fault] = {}
        self.times: dict[int, int] = {}
        self.met = 0
        self.corrupt: bytes | None = None
        self._server: asyncio.Server | None = None
        self._own_port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.come()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go()

    async def come(self) -> None:
        """Listen, on the same port each time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._own_port)
        self._own_port = self._server.sockets[0].getsockname()[1]
        self.bootstrap = f"127.0.0.1:{self._own_port}"

    async def go(self) -> None:
        """Refuse connections, and cut those that stand."""
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, asks}
        lost: list[int] = []
        with suppress(OSError, asyncio.IncompleteReadError):
            await asyncio.wait(
                [
                    asyncio.create_task(self._forth(reader, asks, writer, lost)),
                    asyncio.create_task(self._back(answers, writer, lost)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        for each in (writer, asks):
            each.close()
            self._writers.discard(each)

    async def _forth(
        self,
        reader: asyncio.StreamReader,
        asks: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        lost: list[int],
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                key, _, correlation = struct.unpack_from(">hhi", frame, 4)
                fault = self._fault(key)
                if fault == "hold request":
                    continue
                if fault == "lose request and cut":
                    return
                if fault is not None:
                    lost.append(correlation if fault == "lose answer" else -correlation - 1)
                asks.write(frame)

    async def _back(
        self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: list[int]
    ) -> None:
        address = self._host.encode()
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(answers)
                (correlation,) = struct.unpack_from(">i", frame, 4)
                if correlation in lost:
                    continue
                if -correlation - 1 in lost:
                    return
                # Clients go where metadata says the broker is: here.
                real = address + struct.pack(">i", self._port)
                frame = frame.replace(real, address + struct.pack(">i", self._own_port))
                if self.corrupt is not None:
                    frame = frame.replace(self.corrupt, b"\0" + self.corrupt[1:])
                writer.write(frame)

    def _fault(self, key: int) -> Fault | None:
        if self.times.get(key, 0) <= 0:
            return None
        self.times[key] -= 1
        self.met += 1
        return self.faults[key]


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack(">i", head)[0])
