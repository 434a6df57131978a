"""Print the sha256 of all that the step writes for the first rows of `log.jsonl`.

Run as a program (`python -m tests.golden.digest ROWS`), so that a test can choose the processor to
compile for, or no compilation. The manifest's hash is left out: it changes with every version.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from tests.naive.deployments import small_deployment
from tests.naive.logs import Row
from tests.naive.run import make_step, run_log

LOG = Path(__file__).parent / "log.jsonl"


def read_log() -> list[Row]:
    """Return the stored log; its bytes stand in it as Latin-1."""

    def read(text: str | None) -> bytes | None:
        return None if text is None else text.encode("latin-1")

    rows = [json.loads(line) for line in LOG.read_text().splitlines()]
    return [Row(read(row["key"]), read(row["value"])) for row in rows]


def digest(rows: int) -> str:
    """Return the sha256 of topics, offsets, keys, values and refusals, in order."""
    with tempfile.TemporaryDirectory() as folder:
        deployment = small_deployment(Path(folder) / "config")
        written = run_log(make_step(deployment), read_log()[:rows], 64)
        manifest = deployment.manifest_hash(2).encode()
    found = hashlib.sha256()
    for topic, offset, key, value, refusal in written:
        value = value.replace(manifest, b"")
        found.update(repr((topic, offset, key, value, refusal.name)).encode())
    return found.hexdigest()


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
