"""Options of the command line that are texts: pairs, seeds, minutes; whatever is wrong is one sentence."""

import pytest

from fglib.cli.shared import assignments, integers, overrides
from fglib.cli.train import train
from fglib.errors import ConfigError


def test_pairs_become_nested_mappings():
    items = [
        "train.lr=0.1",
        "train.milestones=[1, 2]",
        "method.options.a.b=x=y",
        "use_fine=true",
        "note=",
        "day='2026-01-01'",
    ]
    assert overrides(items) == {
        "train": {"lr": 0.1, "milestones": [1, 2]},
        "method": {"options": {"a": {"b": "x=y"}}},
        "use_fine": True,
        "note": None,
        "day": "2026-01-01",
    }
    assert overrides([]) == {} and assignments(["seeds=[0,1]"]) == {"seeds": [0, 1]}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["train.lr"], r"^'train\.lr' is not of the form name=value"),
        (["=3"], r"^'=3' is not of the form name=value"),
        (["train..lr=3"], "is not of the form name=value"),
        ([".lr=3"], "is not of the form name=value"),
        (["train.=3"], "is not of the form name=value"),
        (["train.lr=[1"], r"^the value in 'train\.lr=\[1': not valid YAML: "),
        (["a={b: 1, b: 2}"], "the key 'b' stands there twice"),
        (["a=" + "[" * 5000], "nested more than"),
        (["a=1", "b=1", "a=1"], "^'a' is set twice, the second time in 'a=1'; set it once"),
        (["train=5", "train.lr=0.1"], r"gives both 'train' and 'train\.lr', which is inside of it"),
        (["train.lr=0.1", "train=5"], r"gives both 'train' and 'train\.lr', which is inside of it"),
        (["a.b.c=1", "a.b=2"], r"gives both 'a\.b' and 'a\.b\.c'"),
    ],
)
def test_pairs_that_cannot_be_meant_are_one_sentence(items, message):
    with pytest.raises(ConfigError, match=message) as error:
        overrides(items)
    assert len(str(error.value)) < 200


def test_seeds_are_whole_numbers():
    assert integers("0,1, 2") == [0, 1, 2]
    for text in ("", "0,", "1.5", "a", "0;1", "9" * 5000):
        with pytest.raises(ConfigError, match="--seeds must be whole numbers") as error:
            integers(text)
        assert len(str(error.value)) < 160


@pytest.mark.parametrize(
    "options", [{"seeds": "0,0"}, {"seeds": "-1"}, {"seeds": ""}, {"variants": ""}, {"variants": "base,base"}]
)
def test_seeds_and_variants_are_chosen_once_each(options):
    with pytest.raises(ConfigError):
        train("digits", preset="smoke", dry_run=True, **options)


@pytest.mark.parametrize("minutes", [float("nan"), float("inf"), float("-inf"), -1.0])
def test_minutes_are_a_number_of_minutes(minutes):
    with pytest.raises(ConfigError, match="--max-minutes must be a number of minutes, 0 or more, got"):
        train("digits", max_minutes=minutes, dry_run=True)


@pytest.mark.parametrize("options", [{"seeds": ""}, {"variants": ""}, {"seeds": "0"}])
def test_pending_cannot_be_combined_with_seeds_or_variants(options):
    with pytest.raises(ConfigError, match="--pending cannot be combined with --seeds"):
        train(all_pending=True, dry_run=True, **options)
