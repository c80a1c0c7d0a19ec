"""Sessions: the device that was asked for, or one sentence."""

import pytest
import torch

from fglib.errors import FglibError
from fglib.machine import pick_device


def test_the_device_is_the_one_that_is_named():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["meta", "xla", "cuda:4096"])
def test_a_device_that_torch_cannot_use_is_one_sentence(name):
    with pytest.raises(FglibError, match=f"device '{name}' .*use (device )?auto"):
        pick_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cpu:x", "x" * 10**5])
def test_an_unknown_device_is_one_short_sentence(name):
    with pytest.raises(FglibError, match="^unknown device ") as error:
        pick_device(name)
    assert len(str(error.value)) < 140
