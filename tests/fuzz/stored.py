"""What stands in stores: images of snapshots, their footers, manifests of models."""

import hashlib
import struct
import tempfile
from pathlib import Path

from features.catalog import load_catalog
from models.artifact import MANIFEST, load_models
from models.errors import ModelError
from streams.errors import SnapshotError
from streams.snapshot.image import TRAILER, same_state
from streams.snapshot.shelf import refuse_others
from tests.naive.deployments import write_deployment
from tests.snapshot.images import MAKER, bytes_of, empty, filled, image_of

_STATE = filled(3, 0.05)
_IMAGE = bytes_of(_STATE)
_FOOTER_BYTES = struct.unpack(TRAILER.format, _IMAGE[-TRAILER.size :])[1]
_BODY, _FOOTER = (
    _IMAGE[: -TRAILER.size - _FOOTER_BYTES],
    _IMAGE[-TRAILER.size - _FOOTER_BYTES : -TRAILER.size],
)


def image_samples() -> list[bytes]:
    """Return a whole image."""
    return [_IMAGE]


def check_image(data: bytes) -> bool:
    """Bytes load only where they give the very state that was written."""
    state = empty()
    try:
        image = image_of(data)
        refuse_others(image.facts, MAKER)
        image.check()
        image.load(state)
    except SnapshotError:
        return False
    assert same_state(state, _STATE) == []
    return True


def footer_samples() -> list[bytes]:
    """Return the footer of that image."""
    return [_FOOTER]


def check_footer(data: bytes) -> bool:
    """A footer with a sha256 that fits, whatever it says, loads rows that it has a sha256 of, or
    is refused: nothing outside of the image is read, nothing outside of a table is written.
    """
    trailer = TRAILER.pack(_IMAGE[:8], len(data), hashlib.sha256(data).digest())
    try:
        image = image_of(_BODY + data + trailer)
        refuse_others(image.facts, MAKER)
        image.check()
        image.load(empty())
    except SnapshotError:
        return False
    return True


_HOME = tempfile.TemporaryDirectory(prefix="dipper-fuzz-")  # removed when Python ends
_FOLDER = write_deployment(Path(_HOME.name)) / "models" / "card"
_GOOD = (_FOLDER / MANIFEST).read_bytes()
_CATALOG = load_catalog(None)


def manifest_samples() -> list[bytes]:
    """Return the manifest of a scorecard."""
    return [_GOOD]


def check_manifest(data: bytes) -> bool:
    """A model loads where its manifest names the very files that stand beside it."""
    (_FOLDER / MANIFEST).write_bytes(data)
    try:
        load_models([_FOLDER], _CATALOG.columns, _CATALOG.definition_hashes)
    except ModelError:
        return False
    return True
