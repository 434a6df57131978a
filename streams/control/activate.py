"""A version goes live: 1. saved beside the deployment; 2. its files on `dipper.control`; 3. prepare
in every partition; 4. activate in every partition, each at an exact offset of its own.

Each step may be done again: a version that is saved, stands on the topic or is prepared stays so.
Going back is step 4 with an older version.
"""

import time
from pathlib import Path
from typing import NamedTuple

from streams.config import load_deployment
from streams.control.bodies import bodies_of, publish_bodies, read_bodies
from streams.control.commands import ask
from streams.control.keys import load_private_key
from streams.control.records import Command
from streams.errors import DipperError
from streams.versions import save_version

ANSWER_S_MAX = 30.0
# A worker loads beside the work that it does, on a machine that may be slower than this one.
LOAD_TIMES, LOAD_S_MIN = 4, 2.0


async def tell(broker: str, config: Path, verb: str, what: str) -> None:
    """Ask the running control to write a command; return when it stands in every partition."""
    await ask(broker, load_private_key(config), Command(verb, what), ANSWER_S_MAX)


class Prepared(NamedTuple):
    """A version, the files that are too large for the topic and must be copied to every worker by
    hand, and how long it should be left to workers to load: before that they would stand still.
    """

    version: str
    large: list[str]
    load_s: float


async def prepare(broker: str, config: Path, folder: Path) -> Prepared:
    """Check a folder as a version of the deployment in `config` and hand it to every worker."""
    began = time.monotonic()
    version = save_version(config, folder)
    load_s = max(LOAD_S_MIN, LOAD_TIMES * (time.monotonic() - began))
    bodies, large = bodies_of(config, version)
    await publish_bodies(broker, bodies)
    await tell(broker, config, "prepare", version)
    return Prepared(version, large, load_s)


async def activate(broker: str, config: Path, version: str) -> None:
    """Put a prepared version into force; `DipperError` where none of that name was handed out.

    A folder beside the deployment says nothing: a prepare may have ended before it was handed out,
    and partitions would then refuse the activate without a word to whoever gave it.
    """
    first = load_deployment(config).version == version
    if not first and version.encode() not in await read_bodies(broker):
        raise DipperError(f"{version} is not prepared; give its folder to dipper control prepare")
    await tell(broker, config, "activate", version)
