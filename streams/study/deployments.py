"""What `--policy` may name: a deployment, an institution's folder, one policy file.

A part of a deployment is laid over a base: the deployment that it stands in, or the one that is
named. The base is never written to; what is laid over it stands in a folder that goes away.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from models.artifact import MANIFEST
from streams.config import MODELS_FOLDER
from streams.errors import DipperError

PLATFORM_FILE = "platform.toml"
INSTITUTION_FILE = "institution.toml"
INSTITUTIONS_FOLDER = "institutions"


@contextmanager
def deployment_folder(
    path: Path, base: Path | None = None, models: Sequence[Path] = ()
) -> Iterator[Path]:
    """Give the folder of the deployment that `path` means, with `models` in place of their like.

    `base` is the deployment that a part is laid over; without it the one that the part stands in.
    Raises DipperError where no deployment can be made of it; one that the body raises names
    the files that the user knows, not their copies.
    """
    if not path.exists():
        raise DipperError(f"{path}: no such file or folder; name a deployment, or a part of one")
    own = enclosing_deployment(path)
    whole = (path / PLATFORM_FILE).is_file()
    under = own if whole else base or own
    if under is None:
        raise DipperError(
            f"{path}: no {PLATFORM_FILE} here or above; name its deployment with --config"
        )
    inside = own is not None and own.resolve() == under.resolve()
    if inside and not models:
        yield under
        return
    with tempfile.TemporaryDirectory(prefix="dipper-study-") as name:
        folder = Path(name) / "deployment"
        shutil.copytree(under, folder)
        laid = {} if inside else _lay_over(folder, path)
        for model in models:
            laid[_lay_model(folder, model)] = model
        try:
            yield folder
        except DipperError as error:
            # The scratch folder is gone when this is read; the files of the user stay.
            text = str(error)
            for copy, original in {**laid, folder: under}.items():
                text = text.replace(str(copy), str(original))
            raise DipperError(text) from error


def enclosing_deployment(path: Path) -> Path | None:
    """Return the folder with `platform.toml` that `path` is or stands in, None where none is."""
    for folder in (path, *path.resolve().parents):
        if (folder / PLATFORM_FILE).is_file():
            return folder
    return None


def _lay_over(folder: Path, part: Path) -> dict[Path, Path]:
    """Put a part into its place; return what stands there by its copy."""
    if part.is_dir():
        if not (part / INSTITUTION_FILE).is_file():
            raise DipperError(
                f"{part}: neither a deployment nor an institution; it needs {PLATFORM_FILE} or"
                f" {INSTITUTION_FILE}"
            )
        target = folder / INSTITUTIONS_FOLDER / part.resolve().name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(part, target)
        return {target: part}
    institution = part.resolve().parent.name
    target = folder / INSTITUTIONS_FOLDER / institution
    if part.suffix != ".toml" or not target.is_dir():
        known = ", ".join(sorted(each.name for each in target.parent.iterdir() if each.is_dir()))
        raise DipperError(
            f"{part}: a policy file stands in a folder named as its institution; known are {known}"
        )
    laid = {target / file.name: file for file in (part, *part.parent.glob("*.csv"))}
    for copy, file in laid.items():
        shutil.copyfile(file, copy)
    return laid


def _lay_model(folder: Path, model: Path) -> Path:
    try:
        name = str(orjson.loads((model / MANIFEST).read_bytes())["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DipperError(
            f"{model}: no model folder ({error}); name one that train wrote"
        ) from error
    root = folder / MODELS_FOLDER
    for other in root.iterdir() if root.is_dir() else ():
        manifest = other / MANIFEST
        if manifest.is_file() and orjson.loads(manifest.read_bytes()).get("name") == name:
            shutil.rmtree(other)
    shutil.copytree(model, root / name)
    return root / name
