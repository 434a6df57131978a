"""Whether the broker answers: said once a while, not at every attempt, and shown as a metric."""

import asyncio
import logging

_SAY_EVERY_S = 30.0
_log = logging.getLogger("dipper.broker")


class Health:
    """What one worker knows of its broker; shared by all its clients.

    A client calls `seen` when the broker answered and `missed` when it did not.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._loop: asyncio.AbstractEventLoop | None = None
        self._away_since: float | None = None
        self._said = 0.0

    @property
    def away_s(self) -> float:
        """Return for how many seconds nothing has answered; 0 while the broker is there."""
        since, loop = self._away_since, self._loop  # read by a scrape's thread too
        return 0.0 if since is None or loop is None else loop.time() - since

    def seen(self) -> None:
        """Note an answer; a line where the broker had been away for long enough to be said."""
        if self._away_since is None:
            return
        if self._said:
            _log.warning("%s answers again after %.0f s", self._bootstrap, self.away_s)
        self._away_since, self._said = None, 0.0

    def missed(self, why: object) -> None:
        """Note that there was no answer; a line at first and every 30 s."""
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        if self._away_since is None:
            self._away_since = now
        elif now - self._away_since > 1.0 and now - self._said > _SAY_EVERY_S:
            self._said = now
            _log.warning(
                "%s has not answered for %.0f s (%s); waiting, and going on when it does",
                self._bootstrap,
                self.away_s,
                why,
            )
