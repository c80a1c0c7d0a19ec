"""Fingerprints of code: what changes them, what does not, on a package written for the test."""

import pytest

from fglib.errors import ConfigError
from fglib.lab import code_fingerprint as module
from fglib.lab.code_fingerprint import code_fingerprint, function_fingerprint
from fglib.methods import METHODS

CACHES = (module._module, module._definition, function_fingerprint)

LOSSES = '''
"""Losses."""
import math
from fglib.ground import SCALE, check_shape

def loss(x: float, k: int = 3) -> float:
    """The loss."""
    # why
    check_shape(x)
    if k < 1:
        raise ValueError("k is too small")
    return SCALE * helper(x)

def helper(x):
    return math.exp(x)

def other(x):
    return x
'''
GROUND = "SCALE = 2.0\n\ndef check_shape(x):\n    assert x > 0\n"


def forget():
    for cache in CACHES:
        cache.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package(**modules) -> fingerprint of losses.loss in a package of these sources."""
    monkeypatch.setattr(module, "PACKAGE", tmp_path)

    def take(name="loss", module="fglib.losses", **sources):
        for old in tmp_path.iterdir():
            old.unlink()
        for file, source in ({"losses": LOSSES, "ground": GROUND} | sources).items():
            (tmp_path / f"{file}.py").write_text(source)
        forget()
        return function_fingerprint(module, name)

    yield take
    forget()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""The loss."""', '"""Another docstring."""'),
        ("# why", "# because"),
        ("x: float, k: int = 3) -> float", "x, k=3)"),
        ('raise ValueError("k is too small")', 'raise ValueError(f"k is {k}")'),
        ("    check_shape(x)\n", ""),
        ('    if k < 1:\n        raise ValueError("k is too small")\n', ""),
        ("def other(x):\n    return x", "def other(x):\n    return x + 1"),
        ("import math\n", "import math\nimport os\n"),
    ],
)
def test_what_decides_no_number_leaves_it_as_it_is(package, old, new):
    assert old in LOSSES
    assert package() == package(losses=LOSSES.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("losses", "SCALE * helper", "SCALE + helper"),
        ("losses", "k: int = 3", "k: int = 4"),
        ("losses", "math.exp(x)", "math.expm1(x)"),  # in what the loss calls
        ("ground", "2.0", "3.0"),  # in a constant of another module
    ],
)
def test_what_decides_a_number_changes_it(package, file, old, new):
    sources = {"losses": LOSSES, "ground": GROUND}
    assert old in sources[file]
    assert package() != package(**{file: sources[file].replace(old, new)})


def test_a_definition_that_moves_to_another_file_changes_nothing(package):
    moved = LOSSES.replace("def helper(x):\n    return math.exp(x)\n", "").replace(
        "import math", "from fglib.elsewhere import helper"
    )
    before = package()
    assert before == package(losses=moved, elsewhere="import math\n\ndef helper(x):\n    return math.exp(x)\n")
    # through another module's name, and through an import that passes it on
    passed_on = moved.replace("fglib.elsewhere", "fglib.door")
    elsewhere = {"elsewhere": "import math\n\ndef helper(x):\n    return math.exp(x)\n"}
    assert before == package(losses=passed_on, door="from fglib.elsewhere import helper\n", **elsewhere)


def test_a_function_used_through_its_module_is_covered(package):
    through = LOSSES.replace("import math\n", "from fglib import elsewhere\n").replace(
        "helper(x)\n\n", "elsewhere.f(x)\n\n", 1
    )
    one, two = (package(losses=through, elsewhere=f"def f(x):\n    return {n} * x\n") for n in (1, 2))
    assert one != two


SMALL = "small_resnet"


def test_every_method_has_one_and_methods_that_share_nothing_have_different_ones():
    found = {name: code_fingerprint((name, SMALL)) for name in METHODS}
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in found.values())
    assert len(set(found.values())) == len(METHODS)  # one class each
    both = code_fingerprint(("base", SMALL), ("fine", SMALL))
    assert both not in found.values() and both == code_fingerprint(("fine", SMALL), ("base", SMALL))


def test_a_backbone_is_covered_by_those_that_use_it_alone():
    assert code_fingerprint(("base", SMALL)) != code_fingerprint(("base", "resnet18"))
    assert code_fingerprint(("base", "resnet18")) == code_fingerprint(("base", "resnet50"))


def test_an_unknown_method_is_named():
    with pytest.raises(ConfigError, match="unknown method 'bass'.*did you mean 'base'"):
        code_fingerprint(("bass", SMALL))
