"""A signed change goes live among running workers, or is taken back there.

Two folders: the records, where changes stand and where their files are put, and the deployment that
control and workers were started from. The second one never changes: what it decided at its first
offset it must decide again in every fold. What changed since stands beside it, as versions.

1. Lay the change over the records, aside, and save that as a version: what is refused is refused
   here, with nothing changed.
2. Publish into the records (`record.publish`).
3. Prepare, leave workers the time to load, activate. Died before, publish again: 1 and 3 may be
   done twice, 2 is passed over.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

from streams.change.life import State
from streams.change.record import Change, load_change, publish, roll_back
from streams.control.activate import activate, prepare
from streams.errors import DipperError
from streams.versions import copy_file, files_of, save_version


async def publish_live(records: Path, id: str, name: str, config: Path, broker: str) -> str:
    """Publish a signed change and put it into force in every partition; return the version.

    `DipperError`, with nothing changed, where it may not go live or is no version of `config`.
    """
    _refuse_same(records, config)
    change = load_change(records, id)
    if change.state is not State.LIVE:
        _save(records, config, change, change.folder / "files", change.body["becomes"])
        publish(records, id, name)
    return await _go_live(records, config, broker)


async def back_live(records: Path, id: str, name: str, config: Path, broker: str) -> str:
    """Take a live change back and put what it replaced into force; return that older version."""
    _refuse_same(records, config)
    change = load_change(records, id)
    if change.state is not State.ARCHIVED:
        _save(records, config, change, change.folder / "before", change.body["base"])
        roll_back(records, id, name)
    return await _go_live(records, config, broker)


async def _go_live(records: Path, config: Path, broker: str) -> str:
    version, large, load_s = await prepare(broker, config, records)
    if large:
        raise DipperError(
            f"{', '.join(large)}: too large for the topic; copy {config}/versions/{version} to "
            f"every worker, then: dipper control activate {version}"
        )
    await asyncio.sleep(load_s)
    await activate(broker, config, version)
    return version


def _refuse_same(records: Path, config: Path) -> None:
    if records.resolve() == config.resolve():
        raise DipperError(
            f"{config} is what workers start from, and what they decided before must be decided "
            "again by it; keep changes in a copy of it, and name that copy with --live"
        )


def _save(
    records: Path, config: Path, change: Change, source: Path, hashes: Mapping[str, str]
) -> None:
    """Save the version that there will be, without touching the records."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for path in files_of(records):
            copy_file(records / path, folder / path)
        for changed in change.paths:
            if not hashes[changed]:
                (folder / changed).unlink(missing_ok=True)
            elif (source / changed).is_file():
                copy_file(source / changed, folder / changed)
        save_version(config, folder)
