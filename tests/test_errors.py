"""Messages: one line whatever a name holds, and values cut short."""

import pickle

import pytest

from fglib import errors
from fglib.errors import ConfigError, FglibError, HiddenLabelsError, printable, shortened, unknown

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FglibError)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x00\x7f\x9b", r"\x1b[2J\x00\x7f\x9b"),
        ("\u202egnp.exe\u202c\u2066\u2069\u200f", r"\u202egnp.exe\u202c\u2066\u2069\u200f"),
        ("\u2028\u2029\ufeff", r"\u2028\u2029\ufeff"),
        ("caf\udce9", r"caf\udce9"),  # a file name that is not UTF-8
        ("Käfer 甲虫 \N{WOMAN}\u200d\N{MICROSCOPE} a\\b", "Käfer 甲虫 \N{WOMAN}\u200d\N{MICROSCOPE} a\\b"),
    ],
)
def test_control_characters_become_visible_and_all_else_stays(text, shown):
    assert printable(text) == shown and printable(shown) == shown


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_forges_a_line(kind):
    error = kind("no folder a\nfglib: all is well\x1b[1A")
    assert str(error) == r"no folder a\nfglib: all is well\x1b[1A"
    assert str(pickle.loads(pickle.dumps(error))) == str(error) and type(pickle.loads(pickle.dumps(error))) is kind


def test_hidden_labels_are_a_permission_error():
    assert issubclass(HiddenLabelsError, PermissionError) and issubclass(ConfigError, ValueError)


def test_values_are_cut_short_and_have_no_addresses():
    assert shortened(0.5) == "0.5" and shortened("a\nb") == r"'a\nb'"
    assert shortened(object()) == "<object object>" and shortened({"a": [object()]}) == "{'a': [<object object>]}"
    nested = "x"
    for _ in range(30):
        nested = [nested] * 10  # 10 ** 30 values
    for value in ("x" * 10**6, list(range(10**6)), nested, 10**4000):
        assert len(shortened(value)) <= 60
    assert len(shortened("x" * 100, most=20)) == 20


def test_a_name_that_is_not_known_is_cut_too():
    assert str(unknown("preset", "papre", ["cpu", "paper"], "x.yml")) == (
        "unknown preset 'papre' in x.yml; did you mean 'paper'? Valid: cpu, paper"
    )
    assert len(str(unknown("preset", "x" * 10**6, ["cpu"]))) < 120
