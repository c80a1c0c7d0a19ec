"""Levels of labels: the names of the classes on every level, from coarse to fine, and who is whose parent.

A level may be seen as coarse or as fine: of (order, family, genus, species) any two make a pair to work with.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fglib.errors import ConfigError, unknown

ROOT = "everything"  # reserved name of the level above all others and of its only class, see `Hierarchy.with_root`


@dataclass(frozen=True)
class Hierarchy:
    """The classes of all levels.

    levels: names of the levels, coarse to fine.
    classes: the class names of each level; a label is an index into them.
    parents: for each level but the first, the index of each class's parent in the level before. Empty when
        the levels are crossed, as in the synthetic patches: there a fine class has several parents.
    """

    levels: tuple[str, ...]
    classes: dict[str, tuple[str, ...]]
    parents: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self):
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise ConfigError(f"levels must be one or more different names, not {self.levels}")
        if set(self.classes) != set(self.levels) or not all(self.classes.values()):
            raise ConfigError(f"every level of {self.levels} needs at least one class and no other level may")
        if not self.parents:
            return
        for above, level in zip(self.levels, self.levels[1:]):
            parents, known = self.parents.get(level, ()), len(self.classes[above])
            if len(parents) != len(self.classes[level]) or not all(0 <= p < known for p in parents):
                raise ConfigError(f"every class of level '{level}' needs one parent of level '{above}'")

    @classmethod
    def from_paths(
        cls, paths: Iterable[Sequence[str]], levels: Sequence[str], *, qualify: bool = False, crossed: bool = False
    ) -> tuple["Hierarchy", dict[str, Tensor]]:
        """The hierarchy behind n items and its labels.

        paths: for each item its class names, coarse to fine, one for each level. Classes are numbered in the
            order of their names.
        qualify: name a class by its whole path ("Greek/character01"), for names that recur elsewhere.
        crossed: let a class have several parents; the hierarchy then has no tree.
        Returns the hierarchy and, for each level, the labels (n,) int64.
        Raises ConfigError for a class with two parents and for a path of another depth.
        """
        levels, place = tuple(levels), {}
        # many items share few paths, so everything below is worked out once for each path
        items = torch.tensor([place.setdefault(tuple(path), len(place)) for path in paths], dtype=torch.long)
        paths = list(place)
        for path in paths:
            if len(path) != len(levels):
                raise ConfigError(f"{'/'.join(path)} is {len(path)} deep, but the levels are {', '.join(levels)}")
        if qualify:
            paths = [tuple("/".join(path[: k + 1]) for k in range(len(path))) for path in paths]
        classes = {level: tuple(sorted({path[k] for path in paths})) for k, level in enumerate(levels)}
        number = {level: {name: i for i, name in enumerate(classes[level])} for level in levels}
        targets = {
            level: torch.tensor([number[level][path[k]] for path in paths], dtype=torch.long)[items]
            for k, level in enumerate(levels)
        }
        parents = {}
        for k in range(1, 1 if crossed else len(levels)):
            found = _only_parents({(path[k], path[k - 1]) for path in paths}, levels[k])
            above = number[levels[k - 1]]
            parents[levels[k]] = tuple(above[found[name]] for name in classes[levels[k]])
        return cls(levels, classes, parents), targets

    def with_root(self) -> "Hierarchy":
        """The same levels under one more, ROOT, whose single class is everything.

        Labels of that level say nothing: to train on them is to train without supervision (Grafit, Tables 3
        and 4, where it is written as the empty set). Crossed levels stay crossed.
        Raises ConfigError when there is a level of that name.
        """
        if ROOT in self.levels:
            raise ConfigError(f"there is a level '{ROOT}' already (levels: {', '.join(self.levels)}); rename it")
        top = self.levels[0]
        parents = {top: (0,) * self.num_classes(top), **self.parents} if self.nested else {}
        return Hierarchy((ROOT, *self.levels), {ROOT: (ROOT,), **self.classes}, parents)

    @property
    def nested(self) -> bool:
        """Whether every class has one parent, so that labels can be lifted."""
        return len(self.levels) == 1 or bool(self.parents)

    def level(self, name: str) -> str:
        """The name itself, if it is a level; otherwise ConfigError with the valid ones."""
        if name not in self.levels:
            raise unknown("level", name, self.levels)
        return name

    def num_classes(self, level: str) -> int:
        """How many classes a level has."""
        return len(self.classes[self.level(level)])

    def check_pair(self, coarse: str, fine: str) -> None:
        """Raises ConfigError unless both are levels and `coarse` is not the finer of the two."""
        if self.levels.index(self.level(coarse)) > self.levels.index(self.level(fine)):
            raise ConfigError(
                f"level '{coarse}' is finer than '{fine}'; coarse to fine they are {', '.join(self.levels)}"
            )

    def lift(self, labels: Tensor, from_level: str, to_level: str) -> Tensor:
        """Labels of `from_level`, any shape, as labels of the coarser `to_level`, int64, same shape."""
        self.check_pair(to_level, from_level)
        if not self.nested:
            raise ConfigError(
                f"levels {', '.join(self.levels)} are crossed: a class of '{from_level}' has no one parent "
                f"in '{to_level}'; read the labels of that level instead"
            )
        check_labels(labels, from_level, self.num_classes(from_level))
        labels = labels.long()
        top, bottom = self.levels.index(to_level), self.levels.index(from_level)
        for level in reversed(self.levels[top + 1 : bottom + 1]):
            labels = torch.tensor(self.parents[level], device=labels.device)[labels]
        return labels


def check_labels(labels: Tensor, level: str, num_classes: int) -> None:
    """Raises ConfigError unless all labels of a level lie in 0 .. num_classes - 1."""
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if wrong.numel():
        raise ConfigError(
            f"label {wrong[0].item()} of level '{level}' is out of range: its {num_classes} classes are "
            f"numbered 0 to {num_classes - 1}"
        )


def _only_parents(pairs: set[tuple[str, str]], level: str) -> dict[str, str]:
    """{child: parent} from (child, parent) pairs; ConfigError when a child has two."""
    parents: dict[str, str] = {}
    for child, parent in sorted(pairs):
        if parents.setdefault(child, parent) != parent:
            raise ConfigError(
                f"class '{child}' of level '{level}' lies under '{parents[child]}' and under '{parent}'; give "
                "the two different names, or name classes with their parents (qualify=True)"
            )
    return parents
