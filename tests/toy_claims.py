"""Claims on a toy experiment whose records are made by hand."""

from fglib.pages.claims import Claim
from fglib.pages.evidence import Evidence

TOY = {
    "title": "Toy",
    "question": "Does it hold?",
    "chapter": "00_toy",
    "common": {"data": {"name": "digits", "coarse": "group", "fine": "digit"}},
    "variants": {"base": {"method": {"name": "base"}}, "ours": {"method": {"name": "base_indi"}}},
    "presets": {
        "cpu": {"hardware": "a laptop", "seeds": [0, 1, 2], "train": {"epochs": 1, "batch_size": 2, "lr": 0.1}},
        "paper": {"hardware": "a big machine", "seeds": [0, 1, 2], "train": {"epochs": 9, "batch_size": 2, "lr": 0.1}},
    },
}
GAIN = "ours.fine_r1 - base.fine_r1 >= 10"


def claim(*evidence, **fields):
    about = {"where": "Table 9", "says": "Ours is better.", "metric": "fine R@1 (%)", **fields}
    return Claim(id="patterns.toy", paper="patterns", evidence=evidence, **about)


def same(experiment, *rule, preset="paper"):
    return Evidence(experiment=experiment, preset=preset, same=True, rule=rule or (GAIN,))


def elsewhere(experiment, *rule, preset="cpu"):
    return Evidence(
        experiment=experiment,
        preset=preset,
        same=False,
        note="a smaller net",
        rule=rule or ("ours.fine_r1 > base.fine_r1",),
    )
