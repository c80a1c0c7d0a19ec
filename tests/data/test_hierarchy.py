import pytest
import torch

from fglib.data.hierarchy import ROOT, Hierarchy
from fglib.errors import ConfigError

LEVELS = ("order", "family", "species")
PATHS = [
    ("birds", "gulls", "herring gull"),
    ("birds", "albatrosses", "laysan"),
    ("cats", "lynxes", "bobcat"),
    ("birds", "gulls", "ivory gull"),
    ("cats", "lynxes", "bobcat"),
]


def test_labels_name_what_the_paths_name():
    hierarchy, targets = Hierarchy.from_paths(PATHS, LEVELS)
    for i, path in enumerate(PATHS):
        for level, name in zip(LEVELS, path):
            assert hierarchy.classes[level][targets[level][i]] == name
    assert [hierarchy.num_classes(level) for level in LEVELS] == [2, 3, 4]
    assert hierarchy.classes["family"] == ("albatrosses", "gulls", "lynxes")  # by name, not by first sight
    assert all(labels.dtype == torch.long for labels in targets.values())
    assert hierarchy.nested


@pytest.mark.parametrize(("fine", "coarse"), [(2, 1), (2, 0), (1, 0), (1, 1)])
def test_lifted_labels_are_the_labels_of_that_level(fine, coarse):
    hierarchy, targets = Hierarchy.from_paths(PATHS, LEVELS)
    lifted = hierarchy.lift(targets[LEVELS[fine]], LEVELS[fine], LEVELS[coarse])
    assert torch.equal(lifted, targets[LEVELS[coarse]])


def test_lift_keeps_the_shape():
    hierarchy, targets = Hierarchy.from_paths(PATHS, LEVELS)
    ranking = targets["species"][torch.tensor([[0, 1], [2, 3]])]
    expected = targets["order"][torch.tensor([[0, 1], [2, 3]])]
    assert torch.equal(hierarchy.lift(ranking, "species", "order"), expected)


def test_lift_goes_only_up_and_only_with_labels_in_range():
    hierarchy, targets = Hierarchy.from_paths(PATHS, LEVELS)
    with pytest.raises(ConfigError, match="'species' is finer than 'order'"):
        hierarchy.lift(targets["order"], "order", "species")
    for wrong in (-1, 4):
        with pytest.raises(ConfigError, match=f"label {wrong} of level 'species' is out of range: its 4 classes"):
            hierarchy.lift(torch.tensor([0, wrong]), "species", "order")


def test_a_class_with_two_parents_is_named_with_both():
    with pytest.raises(ConfigError, match="'x' of level 'fine' lies under 'a' and under 'b'"):
        Hierarchy.from_paths([("a", "x"), ("b", "x")], ("coarse", "fine"))


def test_qualified_names_tell_equal_leaves_apart():
    hierarchy, targets = Hierarchy.from_paths([("b", "x"), ("a", "x"), ("a", "y")], ("c", "f"), qualify=True)
    assert hierarchy.classes["f"] == ("a/x", "a/y", "b/x")
    assert hierarchy.parents == {"f": (0, 0, 1)}
    assert targets["f"].tolist() == [2, 0, 1]


def test_crossed_levels_have_labels_but_no_tree():
    hierarchy, targets = Hierarchy.from_paths([("a", "x"), ("b", "x")], ("c", "f"), crossed=True)
    assert not hierarchy.nested
    assert hierarchy.num_classes("f") == 1
    with pytest.raises(ConfigError, match="crossed"):
        hierarchy.lift(targets["f"], "f", "c")


def test_a_root_is_one_class_above_all_others():
    plain, targets = Hierarchy.from_paths(PATHS, LEVELS)
    hierarchy = plain.with_root()
    assert hierarchy.levels == (ROOT, *LEVELS) == ("everything", *LEVELS)
    assert hierarchy.classes == {ROOT: (ROOT,), **plain.classes}
    assert hierarchy.parents == {"order": (0, 0), **plain.parents}
    for level in LEVELS:
        assert hierarchy.lift(targets[level], level, ROOT).tolist() == [0] * len(PATHS)
        assert torch.equal(hierarchy.lift(targets[level], level, "order"), plain.lift(targets[level], level, "order"))
        hierarchy.check_pair(ROOT, level)
    with pytest.raises(ConfigError, match="'species' is finer than 'everything'"):
        hierarchy.check_pair("species", ROOT)
    with pytest.raises(ConfigError, match="unknown level 'everthing'; did you mean 'everything'"):
        hierarchy.level("everthing")
    with pytest.raises(ConfigError, match="unknown level 'everything'"):
        plain.level(ROOT)


def test_a_root_comes_once():
    hierarchy, _ = Hierarchy.from_paths(PATHS, LEVELS)
    with pytest.raises(
        ConfigError, match=r"a level 'everything' already \(levels: everything, order, family, species\)"
    ):
        hierarchy.with_root().with_root()


def test_a_root_above_one_level_makes_a_tree_and_above_crossed_ones_does_not():
    one, targets = Hierarchy.from_paths([("b",), ("a",)], ("class",))
    assert one.with_root().lift(targets["class"], "class", ROOT).tolist() == [0, 0]
    crossed, targets = Hierarchy.from_paths([("a", "x"), ("b", "x")], ("c", "f"), crossed=True)
    assert not crossed.with_root().nested
    assert crossed.with_root().num_classes(ROOT) == 1
    with pytest.raises(ConfigError, match="crossed"):
        crossed.with_root().lift(targets["f"], "f", "c")


def test_one_level_is_nested():
    hierarchy, targets = Hierarchy.from_paths([("b",), ("a",)], ("class",))
    assert hierarchy.nested
    assert hierarchy.lift(targets["class"], "class", "class").tolist() == [1, 0]


def test_pairs_of_levels():
    hierarchy, _ = Hierarchy.from_paths(PATHS, LEVELS)
    hierarchy.check_pair("order", "species")
    hierarchy.check_pair("family", "family")
    with pytest.raises(ConfigError, match="'species' is finer than 'order'"):
        hierarchy.check_pair("species", "order")
    with pytest.raises(ConfigError, match="unknown level 'familly'; did you mean 'family'"):
        hierarchy.check_pair("familly", "species")


def test_a_path_of_another_depth_is_named():
    with pytest.raises(ConfigError, match="birds/gulls is 2 deep"):
        Hierarchy.from_paths([*PATHS, ("birds", "gulls")], LEVELS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), {}), "one or more different names"),
        ((("a", "a"), {"a": ("x",)}), "one or more different names"),
        ((("a", "b"), {"a": ("x",)}), "at least one class"),
        ((("a",), {"a": ()}), "at least one class"),
        ((("a", "b"), {"a": ("x",), "b": ("y", "z")}, {"b": (0,)}), "needs one parent"),
        ((("a", "b"), {"a": ("x",), "b": ("y",)}, {"b": (1,)}), "needs one parent"),
    ],
)
def test_a_hierarchy_that_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Hierarchy(*arguments)
