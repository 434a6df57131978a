"""A deployment of many institutions, made from the few of a folder: each a varied copy.

The first ones are those of the folder in the order of their ids. Further ones take their products
over, but ask other prices in each band, serve some of the channels only, and have smaller budgets,
so that the cheapest run out and the next ones follow. No randomness: the same count gives the same
files.
"""

import csv
import io
import re
import shutil
from pathlib import Path

from streams.errors import DipperError

_PRICE_STEP_BPS = 5
_PRICES = 61  # a prime: no two copies of one institution ask the same in every band
_CAP_BPS = (2, 4, 8, 16)  # what a copy has of the budget of its model
_BPS = 10_000
_OWN_CHANNEL = re.compile(r'^institution = "(\w+)"\n', re.MULTILINE)
_CHANNELS = re.compile(r"^channels = \[(.*)\]$", re.MULTILINE)
_NAME = re.compile(r'^name = "(.*)"$', re.MULTILINE)
_CAPS = re.compile(r"^(\w+_cents) = ([\d_]+)", re.MULTILINE)
_TURNS = 4  # a share of it a partition is then no tighter than a lease that was moved there
_SEGMENTS = """
[[caps.segments]] # a budget is not turned over more often than this on one day
id = "turnover"
outstanding_day_cents = {outstanding_cents}
commitment_day_cents = {commitment_cents}
"""


def make_crowd(config: Path, count: int) -> list[str]:
    """Let the deployment in `config` have `count` institutions; return their ids.

    Channels of an institution that is left out are open to all; a copy of one with a channel of its
    own does not serve that. `DipperError` where the folder has no institution to begin with.
    """
    root = config / "institutions"
    models = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not models:
        raise DipperError(f"{root}: no institution here; a crowd is made from one at least")
    for path in models[count:]:
        shutil.rmtree(path)
    kept = [path.name for path in models[:count]]
    platform = config / "platform.toml"
    text = platform.read_text()
    owners = set(_OWN_CHANNEL.findall(text))
    platform.write_text(_OWN_CHANNEL.sub(lambda found: found[0] if found[1] in kept else "", text))
    made = []
    for place in range(len(kept), count):
        model = models[place % len(models)]
        id = f"{model.name}_{place // len(models) + 1:02d}"
        _copy(model, root / id, place, private=model.name in owners)
        made.append(id)
    return sorted([*kept, *made])


def _copy(model: Path, folder: Path, place: int, *, private: bool) -> None:
    folder.mkdir()
    institution = (model / "institution.toml").read_text()
    share = _CAP_BPS[place % len(_CAP_BPS)]
    institution = _CAPS.sub(lambda cap: f"{cap[1]} = {int(cap[2]) * share // _BPS}", institution)
    institution = institution.replace(f'id = "{model.name}"', f'id = "{folder.name}"')
    institution = _NAME.sub(rf'name = "\1 {place}"', institution)
    # Those of the whole institution stand before those of its segments.
    budgets = dict(reversed(_CAPS.findall(institution)))
    turnover = {name: _TURNS * int(cents) for name, cents in budgets.items()}
    (folder / "institution.toml").write_text(institution + _SEGMENTS.format_map(turnover))
    dropped = set()
    for path in sorted(model.glob("*.toml")):
        if path.name == "institution.toml":
            continue
        text, _, _ = path.read_text().partition("[[cases]]")  # they hold for the model's prices
        channels = _CHANNELS.search(text)
        names = channels[1].split(", ") if channels else []
        if private and len(names) == 1:
            dropped.add(path.stem)
            continue
        if len(names) > 1:
            left = [name for n, name in enumerate(names) if n != place % (len(names) + 1)]
            text = _CHANNELS.sub(f"channels = [{', '.join(left)}]", text)
        (folder / path.name).write_text(text)
    for path in sorted(model.glob("*.csv")):
        if not any(path.stem in {name, f"{name}_draw"} for name in dropped):
            (folder / path.name).write_text(_repriced(path.read_text(), place))


def _repriced(table: str, place: int) -> str:
    """Return a band table with other prices; a list or a matrix has none."""
    rows = list(csv.DictReader(io.StringIO(table)))
    if not rows or "rate_bps" not in rows[0]:
        return table
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for band, row in enumerate(rows):
        shift = (place * (17 + 12 * band)) % _PRICES - _PRICES // 2
        price = int(row["rate_bps"]) + shift * _PRICE_STEP_BPS
        writer.writerow({**row, "rate_bps": max(price, 0)})
    return written.getvalue()
