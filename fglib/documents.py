"""Texts that users write: one door through which the library opens and parses them.

Everything is UTF-8, whatever the locale. Whatever is wrong with a file is one sentence, of an error class that the
caller chooses: ConfigError for experiment files, DataError for tables, RecordError for records.
"""

import codecs
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from fglib.errors import ConfigError, FglibError, RecordError, shortened

MAX_BYTES = 16_000_000  # of a text; looked at before it is read
MAX_YAML_BYTES = 1_000_000
MAX_DEPTH = 40  # of nested mappings and lists
MAX_NODES = 100_000  # of a document in which every alias is written out
UTF_16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)

Error = type[FglibError]


def read_text(path: Path, what: str = "file", *, error: Error = ConfigError, most: int = MAX_BYTES) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark; line ends as they are.

    what: names the file in errors, as in "experiment file". Raises `error` for a file that is missing, cannot be read,
    is no file, is larger than `most` bytes or is not UTF-8.
    """
    name = f"the {what} {path}"
    try:
        info = path.stat()
        regular = stat.S_ISREG(info.st_mode)
        data = path.read_bytes() if regular and info.st_size <= most else b""
    except FileNotFoundError as e:
        raise error(f"{name} does not exist") from e
    except (OSError, ValueError) as e:  # ValueError: a null character in the path
        raise error(f"{name} cannot be read: {getattr(e, 'strerror', None) or e}") from e
    if not regular:
        raise error(f"{name} is a folder or a device, not a file")
    if info.st_size > most:
        raise error(f"{name} has {info.st_size:,} bytes, more than the {most:,} that are read; is it the right file?")
    if data.startswith(UTF_16_OR_32):
        raise error(f"{name} is in UTF-16 or UTF-32; save it as UTF-8")
    if b"\0" in data:
        raise error(f"{name} holds null bytes: it is in UTF-16, or no text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise error(f"{name} is not UTF-8 (byte 0x{data[e.start]:02x} in line {line}); save it as UTF-8") from e


def read_yaml(path: Path, what: str = "file", *, error: Error = ConfigError, number_keys: bool = False) -> Any:
    """What a YAML file holds, see `read_text` and `parse_yaml`."""
    text = read_text(path, what, error=error, most=MAX_YAML_BYTES)
    return parse_yaml(text, f"the {what} {path}", error=error, number_keys=number_keys)


def parse_yaml(text: str, where: str, *, error: Error = ConfigError, number_keys: bool = False) -> Any:
    """The value of a YAML document: mappings, lists, texts, numbers, truth values and null; None if it is empty.

    Anchors, aliases and merge keys (`<<`) may be used. Keys must be names, or with `number_keys` also numbers. `where`
    names the text in errors. Raises `error` for text that is not YAML, for keys given twice, tags, unquoted dates,
    and documents that are nested too deeply or grow too large.
    """

    def refused(why: str, mark: yaml.Mark | None = None) -> FglibError:
        lines = text.count("\n") + 1
        place = f", line {min(mark.line + 1, lines)}" if mark is not None and lines > 1 else ""
        return error(f"{where}{place}: {why}")

    try:
        _check_events(text, refused)
        node = yaml.compose(text, _Loader)
        if node is None:
            return None
        _check_values(node, number_keys, refused, {})
        return _Loader("").construct_document(node)
    except yaml.YAMLError as e:
        why = getattr(e, "problem", None) or getattr(e, "reason", None) or " ".join(str(e).split())
        raise refused(f"not valid YAML: {why}", getattr(e, "problem_mark", None)) from e
    except (ValueError, OverflowError) as e:  # a number of thousands of digits, half a character
        if isinstance(e, FglibError):
            raise
        raise refused(f"not valid YAML: {e}") from e


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """A safe loader whose plain scalars are numbers, truth values, null, dates (which are refused) or texts."""


_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "merge", "null", "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def _check_events(text: str, refused: Callable) -> None:
    """Refuse tags, deep nesting and mappings and lists that hold themselves, before a tree is built."""
    around: list[str | None] = []  # anchors of the mappings and lists around
    for event in yaml.parse(text, _Loader):
        if getattr(event, "tag", None):
            raise refused(f"the tag {shortened(event.tag)} is not read; write the plain value", event.start_mark)
        if isinstance(event, yaml.CollectionStartEvent):
            if len(around) == MAX_DEPTH:
                raise refused(f"mappings and lists are nested more than {MAX_DEPTH} deep", event.start_mark)
            around.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            around.pop()
        elif isinstance(event, yaml.AliasEvent) and event.anchor in around:
            raise refused(f"the alias *{event.anchor} stands inside of what it names", event.start_mark)


def _check_values(node: yaml.Node, number_keys: bool, refused: Callable, counts: dict[int, int]) -> int:
    """Refuse dates, keys that stand twice in a mapping or are not names, and aliases that multiply.

    Returns how many values a node holds with its aliases written out; `counts` keeps that of every node.
    """
    if id(node) in counts:
        return counts[id(node)]
    if node.tag.endswith(":timestamp"):
        raise refused(f"{node.value} looks like a date; put it in quotes if it is a text", node.start_mark)
    children = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
        keys = set()
        for key, _ in node.value:
            kind = key.tag.rpartition(":")[2]
            if kind not in ("str", "merge", *(("int", "float") if number_keys else ())):
                shown = f"'{key.value}'" if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise refused(f"a key must be a name, not {shown} (read as {kind}); put it in quotes", key.start_mark)
            if (kind, key.value) in keys:
                raise refused(f"the key '{key.value}' stands there twice", key.start_mark)
            keys.add((kind, key.value))
    count = counts[id(node)] = 1 + sum(_check_values(child, number_keys, refused, counts) for child in children)
    if count > MAX_NODES:
        raise refused(f"with its aliases written out it holds more than {MAX_NODES:,} values", node.start_mark)
    return count


def read_json(path: Path, what: str = "file", *, error: Error = RecordError, most: int = MAX_BYTES, shrink=None) -> Any:
    """What a JSON file holds, see `read_text` and `parse_json`."""
    return parse_json(read_text(path, what, error=error, most=most), f"the {what} {path}", error=error, shrink=shrink)


def parse_json(
    text: str, where: str, *, error: Error = RecordError, shrink: Callable[[dict], Any] | None = None
) -> Any:
    """The value of a JSON text; NaN, Infinity and keys given twice are refused, as is what is nested too deeply.

    shrink: called with every object as soon as it is read, gives what to keep of it. `where` names the text in errors.
    """

    def unique(pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"the key '{next(n for n in names if names.count(n) > 1)}' stands twice in an object")
        return found if shrink is None else shrink(found)

    def constant(name: str) -> None:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except ValueError as e:
        raise error(f"{where} is not JSON: {e}") from e
    except RecursionError as e:
        raise error(f"{where} is nested too deeply") from e
