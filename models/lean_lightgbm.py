"""LightGBM without pandas and scikit-learn, which it imports wherever they are installed.

Scorecards need them, and so they often are; nothing here uses LightGBM through them, and they are
four fifths of the seconds that importing it takes.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_HEAVY = ("pandas", "sklearn")


@contextmanager
def _without_heavy() -> Iterator[None]:
    """Let imports of what is heavy fail, unless somebody has it already."""
    hidden = [name for name in _HEAVY if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: cannot be imported
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _without_heavy():
    import lightgbm as lgb

__all__ = ["lgb"]
