"""`dipper bench`: how fast it is here, with the answers checked; one module a benchmark.

A module here has a function `register(group)` that adds its command.
"""

import enum
import importlib
import pkgutil

import typer


class Summary(enum.StrEnum):
    """How the result is told."""

    table = "table"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the group with every benchmark."""
    group = typer.Typer(rich_markup_mode=None, help="Measure, and check.", no_args_is_help=True)

    @group.callback()
    def _root() -> None:
        """Measure how fast it is here; what is measured is also checked."""

    for found in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name):
        importlib.import_module(f"{__name__}.{found.name}").register(group)
    app.add_typer(group, name="bench")
