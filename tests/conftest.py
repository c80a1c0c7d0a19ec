"""Fixtures that several rooms share."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def need_data():
    """need_data(name) -> data root; skips the test where the named set is not there."""

    def need(name):
        from fglib.data.sources import status
        from fglib.storage import data_root

        root = data_root()
        if not status(name, root)[0]:
            pytest.skip(f"{name} is not under FGLIB_DATA ({root}); see `fglib data {name}`")
        return root

    return need


@pytest.fixture
def write_image():
    """write_image(path, color, size) stores an image of one color, in the format of the path's ending."""

    def write(path, color=(0, 0, 0), size=(8, 8)):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.broadcast_to(np.asarray(color, dtype=np.uint8), (size[1], size[0], 3))
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        return path

    return write
