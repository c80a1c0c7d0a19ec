"""Pre-trained weights: one reader, tensors alone, checked against the checksum in the file's name."""

import ast
import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torchvision import models as tv

import fglib
from fglib.config import ModelConfig
from fglib.errors import ConfigError, FglibError
from fglib.models import build_trunk
from fglib.models.weights import read_weights

PACKAGE = Path(fglib.__file__).parent


class Planted:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch's cache of downloads, empty; torchvision's addresses lie in a folder beside it."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def published(tmp_path, monkeypatch):
    """published(network) makes it the weights IMAGENET1K_V1 of resnet18, and gives the file."""

    def publish(network):
        torch.save(network.state_dict(), tmp_path / "new.pth")
        digest = hashlib.sha256((tmp_path / "new.pth").read_bytes()).hexdigest()
        file = (tmp_path / "new.pth").rename(tmp_path / f"resnet18-{digest[:8]}.pth")
        monkeypatch.setattr(tv.ResNet18_Weights.IMAGENET1K_V1, "_value_", tv._api.Weights(file.as_uri(), None, {}))
        return file

    return publish


def named(folder, data):
    """A file whose name carries the right checksum."""
    path = folder / f"weights-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["ResNet18_Weights.IMAGENET1K_V1", "DEFAULT"])
def test_weights_are_fetched_once_and_given_to_the_trunk(cache, published, name):
    torch.manual_seed(3)
    network = tv.resnet18()
    file = published(network)
    for _ in range(2):
        body = build_trunk(ModelConfig("resnet18", weights=name)).body
        assert torch.equal(body.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
        file.unlink(missing_ok=True)  # the second time there is no network
    assert (cache / file.name).is_file()


def test_a_seed_draws_the_same_with_and_without_weights(cache, published):
    published(tv.resnet18())
    draws = []
    for weights in (None, "IMAGENET1K_V1"):
        torch.manual_seed(0)
        build_trunk(ModelConfig("resnet18", weights=weights))
        draws.append(torch.rand(3))
    assert torch.equal(*draws)


@pytest.mark.parametrize("name", ["resnet18-f37072fd.pth", "resnet18-{}.pth", "plain.pth"])
def test_a_planted_file_is_not_executed(tmp_path, name):
    torch.save({"x": Planted(tmp_path / "pwned")}, tmp_path / "file")
    path = tmp_path / name.format(hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()[:8])
    (tmp_path / "file").rename(path)
    with pytest.raises(FglibError, match=path.name):
        read_weights(path)
    assert not (tmp_path / "pwned").exists()
    torch.load(path, weights_only=False)  # which would have
    assert (tmp_path / "pwned").exists()


def test_files_that_are_no_weights_are_named(tmp_path):
    torch.save(tv.squeezenet1_0(num_classes=2).state_dict(), tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    torch.save([torch.zeros(2)], tmp_path / "x")
    for data, words in (
        (b"", "damaged"),
        (b"<html>not found</html>", "damaged"),
        (pickle.dumps({"x": 1}), "damaged|no table of tensors"),
        (whole[: len(whole) // 2], "damaged"),
        ((tmp_path / "x").read_bytes(), "no table of tensors"),
    ):
        with pytest.raises(FglibError, match=words) as error:
            read_weights(named(tmp_path, data))
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    path, flipped = named(tmp_path, whole), bytearray(whole)
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(FglibError, match="checksum starts with"):
        read_weights(path)
    with pytest.raises(FglibError, match="no weights file .*nowhere.pth"):
        read_weights(tmp_path / "nowhere.pth")


def test_weights_of_another_network_and_of_an_unknown_name(cache, published):
    file = published(tv.resnet34())
    with pytest.raises(FglibError, match=f"{file.name} holds the weights of another network than resnet18"):
        build_trunk(ModelConfig("resnet18", weights="IMAGENET1K_V1"))
    with pytest.raises(ConfigError, match="unknown weights 'IMAGENET1K_V9'.*did you mean 'IMAGENET1K_V1'"):
        build_trunk(ModelConfig("resnet18", weights="IMAGENET1K_V9"))


def test_weights_that_cannot_be_fetched_say_where_to_put_them(cache, published):
    published(tv.resnet18()).unlink()
    with pytest.raises(ConfigError, match=f"IMAGENET1K_V1 of resnet18 could not be fetched.*{cache}"):
        build_trunk(ModelConfig("resnet18", weights="IMAGENET1K_V1"))


def test_nothing_else_in_the_library_loads_weights():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            call = ast.unparse(node.func)
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            direct = call.endswith(("torch.load", "hub.load", "load_state_dict_from_url"))
            if direct or options.get("weights", "None") != "None":
                found.add((path.name, call))
    assert found == {("weights.py", "torch.load")}
