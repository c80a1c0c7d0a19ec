"""The `fglib` command as tests call it."""

import signal
import sys
from pathlib import Path

import pytest

from fglib import cli

GRID = """
title: A tiny grid
question: Does the machinery work?
chapter: 00_quickstart
common:
  data: {name: nested_patches, coarse: big, fine: small, size: 16, options: {classes: 3, children: 2, images: 24}}
  model: {backbone: small_resnet, width: 4, blocks: [1]}
  measure: [accuracy]
variants:
  base: {method: {name: base}}
  broken: {method: {name: bass}}
  indi: {method: {name: base_indi}}
presets:
  paper: {hardware: one GPU, seeds: [0], train: {epochs: 3, batch_size: 12, lr: 0.05}}
"""


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """A fresh working directory; this process and those it starts keep records, checkpoints and data in it."""
    for name in ("results", "checkpoints", "data"):
        monkeypatch.setenv(f"FGLIB_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fglib(folders, monkeypatch, capsys):
    """fglib(*arguments) -> (exit code, stdout, stderr); in this process, since importing torch takes seconds."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # the command would set it for good

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fglib", *arguments])
        capsys.readouterr()
        handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            for number, handler in handlers:
                signal.signal(number, handler)
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def grid(folders) -> Path:
    """The file of an experiment of three runs, one of which fails."""
    path = folders / "grid.yml"
    path.write_text(GRID)
    return path
