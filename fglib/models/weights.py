"""Pre-trained weights: the only place where the library reads a weights file that it did not write.

PyTorch's files are pickles, which can run any code. They are read with `weights_only`, which admits tensors alone, and
after their checksum.
"""

import hashlib
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models as tv

from fglib.errors import ConfigError, FglibError, check_known


def load_torchvision_weights(network: nn.Module, backbone: str, name: str) -> None:
    """Give a torchvision network its weights of that name, such as IMAGENET1K_V1.

    The file comes from torch's cache, else from torchvision's address. ConfigError for an unknown name and where the
    file cannot be fetched; FglibError for one that `read_weights` refuses or that belongs to another network.
    """
    known = tv.get_model_weights(backbone)
    name = name.removeprefix(f"{known.__name__}.")
    check_known("weights", name, known.__members__, backbone)
    url = known[name].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), checksum(path))
        except (OSError, RuntimeError) as e:
            raise ConfigError(
                f"the weights {name} of {backbone} could not be fetched: {e}; put the file {path.name} into "
                f"{path.parent}, or set model.weights to null to train from scratch"
            ) from e
    try:
        network.load_state_dict(read_weights(path))
    except RuntimeError as e:
        raise FglibError(f"{path} holds the weights of another network than {backbone}; delete it") from e


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, of a file that torch.save wrote.

    FglibError for a file that is missing, whose checksum is not the one in its name, or that is no table of tensors.
    """
    if not path.is_file():
        raise FglibError(f"there is no weights file {path}")
    expected = checksum(path)
    if expected is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(expected):
            raise FglibError(
                f"the weights file {path} is damaged or not what its name says: its checksum starts with "
                f"{found[: len(expected)]}, not {expected}; delete it, so that it is fetched again"
            )
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # what a damaged pickle raises is anybody's guess
        raise FglibError(
            f"the weights file {path} is damaged or holds more than tensors; delete it, so that it is fetched again"
        ) from e
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise FglibError(f"the weights file {path} is no table of tensors by name; delete it")
    return weights


def checksum(path: Path) -> str | None:
    """The first digits of the file's SHA-256 that its name carries, as in resnet18-f37072fd.pth; None without."""
    found = re.search(r"-([0-9a-f]{8,64})\.\w+$", path.name)
    return found and found[1]
