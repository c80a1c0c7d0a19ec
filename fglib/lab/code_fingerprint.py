"""Fingerprints of code: they show whether what made a record has changed since.

A fingerprint covers the definitions that decide the numbers of a training: the method, its losses, the network, the
augmentation and the training step. It is taken from the syntax trees of the source files, without importing them, and
leaves out what cannot change a number: comments, docstrings, annotations, imports, assertions, guards that only raise,
and calls of functions named `check...` whose result is not used. Moving a definition to another file changes nothing.
"""

import ast
import hashlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fglib.errors import check_known

PACKAGE = Path(__file__).resolve().parents[1]
# Modules that decide no number: what they hold may change freely.
SILENT = ("errors", "documents", "config", "storage", "checkpoint", "machine", "weights")
# What every training runs through; the class of its method joins them.
LOOP = (
    ("fglib.train", "sgd"),
    ("fglib.train", "training_step"),
    ("fglib.schedule", "learning_rate"),
    ("fglib.data.loader", "epoch_batches"),
    ("fglib.data.augment", "Augment"),
    ("fglib.models.trunk", "Trunk"),
    ("fglib.models.backbones", "_subsample_first"),
    ("fglib.methods.protocol", "Task"),
)
# What builds a backbone of this name; torchvision's networks share one place, and its version is in every record.
PHOTOGRAPHS = (
    ("fglib.models.photographs", "photograph_body"),
    ("fglib.models.freezing", "freeze"),
    ("fglib.train", "build_optimizer"),
)
BODIES = {
    "small_resnet": (("fglib.models.backbones", "small_resnet"),),
    "whitened": (("fglib.models.whitened", "WhitenedTrunk"),),
    "efficientnet_lite0": PHOTOGRAPHS,
    "timm": PHOTOGRAPHS,  # as in timm:resnet18
}
TORCHVISION = (("fglib.models.backbones", "_torchvision_body"),)
SHOWN = (["label"], ["colour"], ["needs_pixels"])  # attributes of a method that decide no number
UNREAD = ("annotation", "returns", "type_comment", "type_params", "kind", "ctx")  # fields of the syntax tree

Place = tuple[str, str]  # a module and a name in it


@cache
def code_fingerprint(*trained: tuple[str, str]) -> str:
    """Sixteen hex digits for the code behind pairs of method and backbone: those of a run and of its starts.

    Raises ConfigError for a method that `fglib.methods.METHODS` does not list.
    """
    (table,) = _module("fglib.methods").defined["METHODS"].value.args
    classes = {key.value: value.value.split(".") for key, value in zip(table.keys, table.values)}
    roots = list(LOOP)
    for method, backbone in trained:
        check_known("method", method, classes)
        file, name = classes[method]
        roots += [(f"fglib.methods.{file}", name)]
        roots += BODIES.get(backbone.split(":")[0], TORCHVISION)
    return _digest(roots)


@cache
def function_fingerprint(module: str, name: str) -> str:
    """Sixteen hex digits for one function of the package and everything in the package that it uses."""
    return _digest([(module, name)])


def source_digest(cls: type) -> str:
    """Eight hex digits for the source of a class, such as one written in a notebook, and of its bases beside it."""
    classes = [cls, *(base for base in cls.__mro__[1:] if base.__module__ == cls.__module__)]
    members = [f"{each.__name__}({', '.join(base.__name__ for base in each.__bases__)})" for each in classes]
    for name, member in (item for each in classes for item in vars(each).items()):
        member = getattr(member, "fget", getattr(member, "__func__", member))  # of a property, of a static method
        if inspect.isfunction(member):
            try:
                members.append(inspect.getsource(member))
            except OSError:  # typed at a prompt
                members.append(f"{name} {member.__code__.co_code.hex()} {member.__code__.co_consts}")
        elif not name.startswith("__"):
            members.append(f"{name} = {member!r}")
    return hashlib.sha256("\n".join(members).encode()).hexdigest()[:8]


def _digest(roots: list[Place]) -> str:
    texts: dict[Place, str] = {}
    waiting = [_home(*root) for root in roots]
    while waiting:
        place = waiting.pop()
        if place is not None and place not in texts:
            texts[place], used = _definition(place)
            waiting += used
    return hashlib.sha256("\n".join(sorted(texts.values())).encode()).hexdigest()[:16]


@cache
def _definition(place: Place) -> tuple[str, list[Place | None]]:
    """The text of a definition, and where what it uses is defined."""
    module = _module(place[0])
    node = module.defined[place[1]]
    return _text(node), [_home(*used) for used in _used(node, module)]


@dataclass(frozen=True)
class _Module:
    """A module of the package as its source has it."""

    name: str
    defined: dict[str, ast.stmt]
    imported: dict[str, Place]  # what a name stands for that comes from elsewhere in the package


@cache
def _module(name: str) -> _Module:
    tree = ast.parse(_file(name).read_bytes())
    defined = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {n.id: node for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("fglib")]
    return _Module(name, defined, {a.asname or a.name: (n.module, a.name) for n in imports for a in n.names})


def _file(module: str) -> Path | None:
    """The source of a module, None where there is no module of that name."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _home(module: str, name: str) -> Place | None:
    """Where a name is defined that a module has; None for modules themselves and for silent ones' names."""
    if module.split(".")[-1] in SILENT or _file(f"{module}.{name}"):
        return None
    here = _module(module)
    if name in here.defined:
        return module, name
    return _home(*here.imported[name]) if name in here.imported else None


def _used(node: ast.AST, module: _Module) -> Iterator[Place]:
    """What a definition uses of the package, by name (`Augment`) or through a module (`readers.digits`)."""
    kept = list(_walk(node))
    local = {n.id for n in kept if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    local |= {n.arg for n in kept if isinstance(n, ast.arg)}
    for used in kept:
        if isinstance(used, ast.Attribute) and isinstance(used.value, ast.Name) and used.value.id in module.imported:
            through = ".".join(module.imported[used.value.id])
            if _file(through):
                yield through, used.attr
        elif isinstance(used, ast.Name) and used.id not in local:
            yield module.name, used.id


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for _, value in _fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child)


def _text(value: object) -> str:
    """A syntax tree as text, alike in all versions of Python; `ast.dump` is not."""
    if isinstance(value, ast.AST):
        return f"{type(value).__name__}({','.join(f'{name}={_text(part)}' for name, part in _fields(value))})"
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return repr(value)


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    """The fields of a node that can change a number."""
    if isinstance(node, ast.Raise):
        return
    for name, value in ast.iter_fields(node):
        if isinstance(value, list):
            value = [child for child in value if not _idle(child)]
        if name not in UNREAD and value not in (None, []):
            yield name, value


def _idle(node: object) -> bool:
    """Whether a statement cannot change a number."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        return getattr(called, "attr", getattr(called, "id", "")).lstrip("_").startswith("check")
    if isinstance(node, ast.If):
        return not node.orelse and all(isinstance(child, ast.Raise) for child in node.body)
    if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] in SHOWN:
        return True
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text or isinstance(node, ast.Import | ast.ImportFrom | ast.Assert)
