"""Stop in order when the system asks for it."""

import asyncio
import signal


def stop_event() -> asyncio.Event:
    """Return an event of the running loop that SIGTERM and SIGINT set; a second one ends at
    once.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
    return stop
