"""The table of named data sets, read from `catalogue.yml` beside this file."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module, resources

import yaml

from fglib.data.folder import image_sets

IN_THE_BOX = "nothing to get, it comes with the package"


@dataclass(frozen=True)
class Source:
    """One named data set.

    reader: in `fglib.data`, the function that reads it, (root, size, *, options), or (size, *, options) when it needs
        no root. What it takes as `**options` are `resident` and `skip_corrupt`, see `folder.image_sets`.
    levels: of its labels, coarse to fine; none where they are named elsewhere.
    size: default side of its images in pixels.
    how: to get it.
    places: where it may lie below the data root, any one of them; none if it comes with the package.
    fetch: torchvision's class that downloads it and the arguments for it.
    into: the folder below the data root that it downloads into, if not the root itself.
    archives: addresses of those that torchvision's class leaves out, or of all there is where there is no class.
    """

    reader: str
    size: int
    what: str
    licence: str
    levels: tuple[str, ...] = ()
    how: str = IN_THE_BOX
    places: tuple[str, ...] = ()
    fetch: tuple[str, dict] | None = None
    into: str = ""
    archives: tuple[str, ...] = ()

    @cached_property
    def read(self) -> Callable:
        """The reader itself."""
        module, _, name = self.reader.rpartition(".")
        return getattr(import_module(f"fglib.data.{module}"), name)

    def options(self) -> dict[str, inspect.Parameter]:
        """The options that `load` takes for this set."""
        parameters = inspect.signature(self.read).parameters.values()
        shared = inspect.signature(image_sets).parameters
        known = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            known |= {name: shared[name] for name in ("resident", "skip_corrupt")}
        return known


def _entry(fields: dict) -> Source:
    return Source(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})


_TABLE = resources.files(__package__).joinpath("catalogue.yml").read_text(encoding="utf-8")
SOURCES = {name: _entry(fields) for name, fields in yaml.safe_load(_TABLE).items()}
