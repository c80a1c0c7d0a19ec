"""A coarse level for classes of WordNet, as ImageNet's are: a cut through the tree above them.

The cut goes from the top: the root is replaced by its children, then again and again the node with most classes at
or below it, until there are enough nodes. Huh et al. (arXiv 1608.08614) group ImageNet's classes under 127 nodes of
WordNet; this cut is not their list, as the order of the splits and the choice among several parents are ours.
"""

from collections import Counter
from collections.abc import Sequence


def spanning_tree(edges: Sequence[tuple[str, str]]) -> dict[str, str | None]:
    """{node: its parent} of a graph of (parent, child), None for a root.

    A node with several parents is kept below the one that is nearest to a root, of equally near ones below the first
    by name, so the order of the edges does not matter.
    """
    children: dict[str, list[str]] = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
    reached = sorted(set(children) - {child for _, child in edges})
    tree: dict[str, str | None] = dict.fromkeys(reached)
    while reached:
        found: dict[str, str] = {}
        for node in reached:  # in the order of names: the first parent to reach a child keeps it
            for child in children.get(node, ()):
                if child not in tree:
                    found.setdefault(child, node)
        tree |= found
        reached = sorted(found)
    return tree


def coarse_cut(tree: dict[str, str | None], classes: Sequence[str], num_groups: int) -> dict[str, str]:
    """{class: the node of the cut that it lies under} for a cut of at least `num_groups` nodes.

    tree: {node: parent}; it must hold all classes, of which there must be at least `num_groups`.
    The last split may bring more nodes than were missing. A class that others lie under becomes a node of its own
    when it is split. Of nodes with equally many classes the first by name is split.
    """
    below = {name: [name] for name in classes}  # the nodes from the class up to the root, whose last one is in the cut
    for path in below.values():
        while (parent := tree[path[-1]]) is not None:
            path.append(parent)
    while True:
        sizes = Counter(path[-1] for path in below.values())
        if len(sizes) >= num_groups:
            return {name: path[-1] for name, path in below.items()}
        largest = max(sorted(sizes), key=sizes.get)
        for path in below.values():
            if path[-1] == largest and len(path) > 1:
                path.pop()
