import pytest

from fglib.data.sets.wordnet import coarse_cut, spanning_tree

#            entity
#       animal     artefact
#   dog     cat     car  cup
# pug poodle  lynx
EDGES = [
    ("entity", "animal"),
    ("entity", "artefact"),
    ("animal", "dog"),
    ("animal", "cat"),
    ("dog", "pug"),
    ("dog", "poodle"),
    ("cat", "lynx"),
    ("artefact", "car"),
    ("artefact", "cup"),
]
CLASSES = ["car", "cup", "lynx", "poodle", "pug"]


def test_a_tree_stays_as_it_is():
    assert spanning_tree(EDGES) == {"entity": None, **{child: parent for parent, child in EDGES}}


def test_a_node_with_several_parents_goes_to_the_nearest_to_the_root_then_to_the_first_by_name():
    nearer = [*EDGES, ("artefact", "pug")]
    assert spanning_tree(nearer)["pug"] == "artefact"  # two steps from the root; dog is three
    equal = [*EDGES, ("cat", "pug")]
    assert spanning_tree(equal)["pug"] == "cat"
    assert spanning_tree(equal[::-1]) == spanning_tree(equal)


def test_several_roots_and_what_no_root_reaches():
    tree = spanning_tree([("b", "x"), ("a", "x"), ("loop", "knot"), ("knot", "loop")])
    assert tree == {"a": None, "b": None, "x": "a"}


@pytest.mark.parametrize(
    ("num_groups", "expected"),
    [
        (1, {"entity": ["car", "cup", "lynx", "poodle", "pug"]}),
        (2, {"animal": ["lynx", "poodle", "pug"], "artefact": ["car", "cup"]}),
        (3, {"artefact": ["car", "cup"], "cat": ["lynx"], "dog": ["poodle", "pug"]}),
        # artefact and dog have two classes each; artefact is the first by name
        (4, {"car": ["car"], "cat": ["lynx"], "cup": ["cup"], "dog": ["poodle", "pug"]}),
        (5, {"car": ["car"], "cat": ["lynx"], "cup": ["cup"], "poodle": ["poodle"], "pug": ["pug"]}),
    ],
)
def test_the_node_with_most_classes_is_split(num_groups, expected):
    groups = {}
    for name, node in coarse_cut(spanning_tree(EDGES), CLASSES, num_groups).items():
        groups.setdefault(node, []).append(name)
    assert {node: sorted(names) for node, names in groups.items()} == expected


def test_a_split_may_bring_more_nodes_than_were_asked():
    tree = spanning_tree([("top", name) for name in "abcd"])
    assert len(set(coarse_cut(tree, "abcd", 2).values())) == 4


def test_only_classes_count():
    """Nodes without a class below them are no groups."""
    assert coarse_cut(spanning_tree(EDGES), ["pug", "poodle"], 2) == {"pug": "pug", "poodle": "poodle"}


def test_a_class_that_others_lie_under_becomes_a_group():
    classes = ["dog", "poodle", "pug"]
    assert coarse_cut(spanning_tree(EDGES), classes, 3) == {name: name for name in classes}


def test_every_cut_has_enough_groups_and_each_is_above_its_classes():
    edges = [(f"{i // 3}", f"{i}") for i in range(1, 121)]  # the node i lies under i // 3
    classes = [f"{i}" for i in range(40, 121)]
    tree = spanning_tree(edges)
    for num_groups in range(1, len(classes) + 1):
        cut = coarse_cut(tree, classes, num_groups)
        assert set(cut) == set(classes)
        assert num_groups <= len(set(cut.values())) <= num_groups + 2  # a split turns one node into two or three
        for name, node in cut.items():
            above = name
            while above != node:
                above = tree[above]
