"""How tables and figures name and colour methods, variants and metrics.

A method's own label and colour are attributes of its class; `labels.yml` has those of the experiments' other variants.
"""

from importlib import resources

import yaml

from fglib.methods import METHODS

# Okabe and Ito 2008; black and yellow are kept for text and highlights
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F")
_TABLE = yaml.safe_load(resources.files(__package__).joinpath("labels.yml").read_text(encoding="utf-8"))
_SHOWN = {name: (method.label, method.colour) for name, method in METHODS.items()} | _TABLE["variants"]
LABELS = {name: shown[0] for name, shown in _SHOWN.items()} | _TABLE["metrics"]
COLOURS = {name: shown[1] for name, shown in _SHOWN.items() if len(shown) > 1 and shown[1]}


def label(name: str) -> str:
    """Display name of a method, variant or metric."""
    return LABELS.get(name, name)


def colour(name: str) -> str:
    """Colour of a method or variant; one that has none of its own gets a fixed one of the palette."""
    return COLOURS.get(name, PALETTE[sum(name.encode()) % len(PALETTE)])
