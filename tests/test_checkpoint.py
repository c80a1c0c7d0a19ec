"""Checkpoints: cut short, of another configuration, on a full disk."""

import dataclasses
import errno
import os

import pytest
from tiny import ready

from fglib.checkpoint import load_checkpoint
from fglib.errors import FglibError, RecordError
from fglib.train import fit


@pytest.fixture
def checkpoint(tmp_path):
    method, train, config = ready(epochs=1)
    path = tmp_path / "run.safetensors"
    fit(method, train, config, checkpoint=path)
    return path, method, config


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_named(checkpoint, keep):
    path, method, config = checkpoint
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(RecordError, match=r"run\.safetensors is damaged or cut short.*delete it"):
        load_checkpoint(path, {"key": config.key()}, method)


def test_a_checkpoint_of_another_configuration_is_refused(checkpoint):
    path, method, config = checkpoint
    with pytest.raises(RecordError, match="belongs to other configuration"):
        load_checkpoint(path, {"key": dataclasses.replace(config, seed=5).key()}, method)


def test_a_full_disk_is_one_sentence_and_keeps_the_old_checkpoint(checkpoint, monkeypatch):
    path, _, config = checkpoint
    before = path.read_bytes()

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    method, train, longer = ready(epochs=1)
    with pytest.raises(FglibError, match="No space left on device; free space"):
        fit(method, train, longer, checkpoint=path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_no_pickle_inside(checkpoint):
    path, *_ = checkpoint
    # a safetensors file starts with the length of its JSON header and then the header itself
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert data[8:9] == b"{" and b'"__metadata__"' in data[8 : 8 + length]


IDENTITY = {"key": "0123456789", "data": "ab", "code": "cd"}


def test_every_flipped_bit_is_noticed(tmp_path):
    method, train, config = ready(epochs=1)
    path = tmp_path / "run.safetensors"
    fit(method, train, config, checkpoint=path, identity=IDENTITY)
    whole = path.read_bytes()
    load_checkpoint(path, IDENTITY, method)
    for place in range(0, len(whole), max(1, len(whole) // 200)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(bytes(damaged))
        with pytest.raises(RecordError, match=r"run\.safetensors is damaged|belongs to other"):
            load_checkpoint(path, IDENTITY, method)


@pytest.mark.parametrize(("part", "word"), [("key", "configuration"), ("data", "images or labels"), ("code", "code")])
def test_a_checkpoint_of_other_data_or_code_is_refused(tmp_path, part, word):
    method, train, config = ready(epochs=1)
    path = tmp_path / "run.safetensors"
    fit(method, train, config, checkpoint=path, identity=IDENTITY)
    with pytest.raises(RecordError, match=f"belongs to other {word} .*--refresh"):
        fit(*ready(epochs=1), checkpoint=path, identity=IDENTITY | {part: "ef"})
