"""Every chapter runs from start to end in its smoke preset, on generated data, through papermill."""

import os
import re
import subprocess
import sys

import pytest

from fglib.chapter import check_parameters
from fglib.errors import ConfigError
from fglib.paths import BOOK

CHAPTERS = sorted(p for p in BOOK.glob("*.ipynb") if re.match(r"\d\d_", p.name))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """One folder for all chapters: what one has trained, the next one loads, as on a reader's machine."""
    return tmp_path_factory.mktemp("records")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_runs_in_the_smoke_preset(path, tmp_path, records):
    env = os.environ | {
        "FGLIB_RESULTS": str(records / "results"),
        "FGLIB_CHECKPOINTS": str(records / "checkpoints"),
        "FGLIB_DATA": str(tmp_path / "none"),
        "MPLBACKEND": "agg",
    }
    command = [sys.executable, "-m", "papermill", str(path), str(tmp_path / "out.ipynb"), "-p", "preset", "smoke"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


GOOD = {"preset": "recorded", "seeds": None, "device": "auto", "refresh": False, "data_dir": None}


def test_good_parameters_become_keyword_arguments():
    checked = check_parameters(GOOD | {"seeds": [0, 1], "preset": "cpu"})
    assert dict(**checked) == GOOD | {"seeds": [0, 1], "preset": "cpu"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "papre"}, "unknown preset 'papre'; did you mean 'paper'"),
        ({"seeds": 3}, "'seeds' must be a list of whole numbers"),
        ({"seeds": "[0,1]"}, "'seeds' must be a list of whole numbers"),
        ({"seeds": [True]}, "'seeds' must be a list of whole numbers"),
        ({"seeds": []}, "'seeds' must be a list of whole numbers"),
        ({"refresh": "true"}, "'refresh' must be True or False, got 'true'"),
        ({"device": None}, "'device' must be"),
        ({"data_dir": 1}, "'data_dir' must be"),
        ({"In": ["", "preset = 1", "# Parameters\nseed = 3\n"]}, "unknown parameter 'seed'; did you mean 'seeds'"),
    ],
)
def test_bad_parameters_are_named(change, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_parameters(GOOD | change)
