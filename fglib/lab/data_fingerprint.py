"""Fingerprints of data: they show whether images or labels have changed since a run was recorded."""

import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from fglib.data.images import ImageSet
from fglib.data.sources import find_source, load
from fglib.lab.code_fingerprint import function_fingerprint

CONTENT_BYTES = 64 * 2**20  # files of a split are read whole up to this size in all, beyond it names and sizes count


def data_fingerprint(name: str, root: str | Path | None = None, size: int | None = None, **options) -> str:
    """The fingerprint of a named data set with these options, as `sources.load` takes them.

    Of a set made by the library it is that of the code that makes it. Otherwise it covers name, size in bytes and
    labels of every image, and the contents of sets that are small or held in memory; the numbers of training and test
    images end it, as in 0123456789abcdef-75-25. Raises what `load` raises.
    """
    source = find_source(name)
    if not source.places and "path" not in source.options():
        read = inspect.unwrap(source.read)
        return function_fingerprint(read.__module__, read.__qualname__)
    if "resident" in source.options():
        options["resident"] = False  # nothing is decoded
    data = load(name, root, size, **options)
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        for part in _parts(split):
            digest.update(len(part).to_bytes(8, "little") + part)
    return f"{digest.hexdigest()[:16]}-{len(data.train)}-{len(data.test)}"


def _parts(split: ImageSet) -> Iterator[bytes]:
    for level in split.hierarchy.levels:
        yield "\0".join((level, *split.hierarchy.classes[level])).encode(errors="surrogateescape")
        yield _bytes(split.targets[level])
    if split.boxes is not None:
        yield _bytes(split.boxes)
    if split.resident:
        yield _bytes(split.images)
        return
    sizes = split.images.sizes()
    yield "\0".join(f"{name} {count}" for name, count in zip(split.images.names, sizes)).encode(
        errors="surrogateescape"
    )
    if sum(sizes) <= CONTENT_BYTES:
        for name in split.images.names:
            yield split.images.store.read(name)


def _bytes(values: Tensor) -> bytes:
    return values.contiguous().numpy().tobytes()
