"""The command line as a user meets it: help with an example, exit codes, one sentence for what went wrong."""

import json
import re

import pytest
import torch

from fglib import __main__, cli
from fglib.lab.places import book

COMMANDS = ("doctor", "data", "train", "verify", "tune", "chapter", "claims", "book")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(fglib, command):
    code, out, _ = fglib(command, "--help")
    assert code == 0 and f"Example: fglib {command}" in out


def test_data_lists_what_is_missing_and_how_to_get_it(fglib, folders):
    code, out, _ = fglib("data")
    assert code == 0 and "cifar100" in out and str(folders / "data") in out
    code, out, _ = fglib("data", "omniglot", "--json")
    (row,) = json.loads(out)
    assert code == 0 and row["name"] == "omniglot" and not row["found"] and row["how"]


def test_doctor_examines_and_speaks_json(fglib):
    code, out, _ = fglib("doctor", "--json")
    findings = json.loads(out)
    assert code == 0 and {"python", "torch", "GPU"} <= {f["what"] for f in findings}
    code, out, _ = fglib("doctor")
    assert code == 0 and "records omniglot" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "digits", "--pending"), 2, "name an experiment, .* or ask for --pending"),
        (("train", "digits", "--replace"), 2, "--replace goes with --refresh"),
        (("train", "--pending", "--seeds", "0"), 2, "--pending cannot be combined with --seeds"),
        (("train", "--pending", "--preset", "papre"), 2, "unknown preset 'papre'"),
        (("train", "omniglott"), 2, "unknown experiment 'omniglott'.*did you mean 'omniglot'"),
        (("train", "digits", "--preset", "papre"), 2, "unknown preset 'papre'"),
        (("train", "digits", "--variants", "bass"), 2, "unknown variant 'bass'.*did you mean 'base'"),
        (("train", "digits", "--seeds", "a"), 2, "--seeds must be whole numbers"),
        (("train", "digits", "--set", "method.name=bass"), 2, "unknown method 'bass'.*did you mean 'base'"),
        (("train", "digits", "--set", "train.epoch=1"), 2, "did you mean 'epochs'"),
        (("train", "digits", "--set", "epochs"), 2, "not of the form name=value"),
        (("train",), 2, "name an experiment"),
        (("train", "omniglot"), 1, "omniglot.*FGLIB_DATA|omniglot"),
        (("train", "digits", "--device", "cuda"), 1, "no CUDA device"),
        (("train", "digits", "--device", "gpu"), 1, "unknown device 'gpu'"),
        (("data", "cifar10"), 2, "did you mean 'cifar100'"),
        (("data", "--download"), 2, "--download needs the name"),
        (("run", "11_coarse"), 2, "unknown chapter '11_coarse'.*did you mean '11_coarse_to_fine'"),
        (("run", "11", "-p", "sed=1"), 2, "unknown parameter 'sed'.*did you mean 'seeds'"),
        (("run", "11", "--preset", "papre"), 2, "unknown preset 'papre'.*did you mean 'paper'"),
        (("claims", "graft"), 2, "did you mean 'grafit'"),
        (("claims", "--verdict", "undecide"), 2, "unknown verdict 'undecide'.*did you mean 'undecided'"),
    ],
)
def test_mistakes_end_in_one_sentence(fglib, arguments, code, message):
    if "no CUDA device" in message and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    got, out, err = fglib(*arguments)
    last = err.strip().splitlines()[-1]
    assert got == code and re.search(message, last), (got, err)
    assert last.startswith("fglib: ")


def test_claims_are_filtered_by_their_verdicts(fglib):
    code, out, err = fglib("claims", "subtle", "--verdict", "not run", "--verdict", "proved")
    found = [line[:20].strip() for line in out.splitlines() if not line.startswith(" ")]
    assert code == 0 and set(found) == {"not run", "proved"}


def test_names_of_users_cannot_move_the_cursor_or_forge_a_line(fglib, grid):
    grid.write_text(grid.read_text().replace("  base:", '  "a\\e[2J\\nrecorded": {method: {name: base}}\n  base:'))
    code, out, err = fglib("train", str(grid), "--preset", "paper", "--dry-run")
    assert code == 2 and not out and err.count("\n") == 1 and r"the variant 'a\x1b[2J\nrecorded' cannot be" in err


def test_an_unknown_command_or_option_is_a_usage_error(fglib):
    assert fglib("trian")[0] == 2
    assert fglib("train", "digits", "--epochs", "3")[0] == 2
    assert fglib("train", "digits", "--jobs", "0")[0] == 2


def test_the_book_has_what_the_commands_name():
    assert (book() / "claims.yml").is_file() and (book() / "experiments").is_dir()


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_ctrl_c_ends_any_command_in_one_sentence(fglib, monkeypatch):
    monkeypatch.setattr("fglib.lab.doctor.examine", interrupt)
    code, out, err = fglib("doctor")
    sentence = "fglib: stopped by Ctrl-C; everything recorded so far is kept; run the same command again\n"
    assert (code, out, err) == (1, "", sentence)


def test_ctrl_c_while_the_command_loads_ends_in_one_sentence(monkeypatch):
    last = []
    monkeypatch.setattr(cli, "main", interrupt)
    monkeypatch.setattr(__main__, "leave", lambda: last.append("word"))
    with pytest.raises(SystemExit, match="^fglib: stopped by Ctrl-C; everything recorded so far is kept$"):
        __main__.main()
    assert last == ["word"]
