"""What the commands share: the application, options, printing, and how a signal ends them."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations
from typing import Annotated, TextIO

import typer
import typer.core

from fglib.errors import ConfigError, FglibError, printable, shortened
from fglib.stops import leave


@contextmanager
def stoppable(advice: str) -> Iterator[None]:
    """Let a signal end the block in one sentence with this advice."""
    try:
        yield
    except KeyboardInterrupt as e:
        if isinstance(e.__context__, FglibError):  # such as a checkpoint that could not be written
            advice = e.__context__
        sentence = f"stopped by {str(e) or 'Ctrl-C'}; everything recorded so far is kept; {advice}"
        leave(f"fglib: {sentence}\n")
        raise FglibError(sentence) from None


class _Commands(typer.core.TyperGroup):
    """Commands that a signal ends in one sentence, listed in the order in which they are met."""

    def list_commands(self, ctx: typer.Context) -> list[str]:
        return ["doctor", "data", "train", "verify", "tune", "chapter", "run", "claims", "book"]

    def invoke(self, ctx: typer.Context) -> object:
        with stoppable("run the same command again"):
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fine-grained image representations from coarse labels: train, measure and read the book.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0.")]
DataDir = Annotated[str | None, typer.Option(help="Folder of the data sets; default $FGLIB_DATA or ~/.cache/fglib.")]
Preset = Annotated[str, typer.Option(help="smoke, cpu or paper.")]
Seeds = Annotated[str | None, typer.Option(help="Comma-separated seeds; default: the preset's.")]
Variants = Annotated[str | None, typer.Option(help="Comma-separated variants; default: all.")]
MaxMinutes = Annotated[float | None, typer.Option(help="Stop cleanly after so long; the next call goes on.")]
Jobs = Annotated[int, typer.Option(min=1, help="Runs at a time, each in a process of its own; they share the device.")]


def say(line: object, file: TextIO | None = None) -> None:
    """Print a line that may hold names of files or texts of users."""
    print(printable(line), file=file, flush=True)


def deadline(max_minutes: float | None) -> float | None:
    """The time of `time.monotonic()` at which a command stops."""
    if max_minutes is None:
        return None
    if not 0 <= max_minutes < math.inf:
        raise ConfigError(f"--max-minutes must be a number of minutes, 0 or more, got {max_minutes}")
    return time.monotonic() + 60 * max_minutes


def names(text: str | None) -> list[str] | None:
    """The names in a comma-separated text."""
    return None if text is None else text.split(",")


def integers(text: str | None) -> list[int] | None:
    """The seeds in a comma-separated text."""
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--seeds must be whole numbers with commas between, as in 0,1,2, got {shortened(text)}"
        ) from None


def assignments(items: list[str] | None) -> dict:
    """name=value pairs, values read as YAML; ConfigError for a name that is empty or given twice."""
    from fglib.documents import parse_yaml

    out = {}
    for item in items or []:
        name, sep, value = item.partition("=")
        if not (sep and all(name.split("."))):
            raise ConfigError(f"{shortened(item)} is not of the form name=value")
        if name in out:
            raise ConfigError(f"'{name}' is set twice, the second time in {shortened(item)}; set it once")
        out[name] = parse_yaml(value, f"the value in {shortened(item)}")
    return out


def overrides(items: list[str] | None) -> dict:
    """Pairs such as section.key=value, of any depth, as nested mappings; ConfigError for a key within another one."""
    from fglib.lab.plan import nested

    given = assignments(items)
    for around, name in permutations(given, 2):
        if name.startswith(f"{around}."):
            raise ConfigError(f"--set gives both '{around}' and '{name}', which is inside of it; give one of them")
    return nested(given)
