"""The command `dipper`: its commands stand in `streams.commands`; an error is one sentence."""

import importlib
import logging
import pkgutil
import sys

import typer

from streams import commands
from streams.errors import DipperError
from streams.progress import Line, listen

EXIT_FAULT = 2  # as for wrong usage: what was given to us cannot be worked with
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def build() -> typer.Typer:
    """Return the application with every command of `streams.commands`, in order of name."""
    application = typer.Typer(
        name="dipper",
        help="An open, fully automatic credit-decision platform on Kafka.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # a fault of ours must show as it is
        rich_markup_mode=None,  # plain help: importing rich would triple the time to it
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @application.callback()
    def _root() -> None:
        """Keep `dipper COMMAND` a group, however many commands there are."""

    for found in sorted(pkgutil.iter_modules(commands.__path__), key=lambda each: each.name):
        module = importlib.import_module(f"{commands.__name__}.{found.name}")
        module.register(application)
    return application


app = build()


def main() -> None:
    """Run the command line; exit with 2 and one sentence on standard error if input is at fault."""
    if not __debug__:
        # Assertions are what stops a wrong decision from being written.
        sys.exit("dipper: python -O switches assertions off, and dipper does not run without them")
    # What a Kafka client retries by itself is no news; what it gives up comes as an error of ours.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    listen(Line(sys.stderr))
    try:
        app()
    except DipperError as error:
        print(f"dipper: {error}", file=sys.stderr)  # noqa: T201 the one place that prints errors
        sys.exit(EXIT_FAULT)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
