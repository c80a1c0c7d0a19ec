"""Pictures of more than 8 bits as 8 bits: which value is white, and when that cannot be known."""

import re

import numpy as np
from PIL import Image

from fglib.errors import DataError

MAX_SAMPLE_VALUE, BITS_PER_SAMPLE, SAMPLE_FORMAT, PHOTOMETRIC = 281, 258, 339, 262  # tags of TIFF
DIMMEST = 64  # least brightness, of 255, of the brightest value: where all are darker, fewer bits were in use
REMEDY = "save it with 8 bits, or as TIFF whose tag MaxSampleValue says which value is white (4095 for 12 bits)"


class Depth:
    """What an opened picture says of its values, before they are decoded.

    bits: of an integer, so that white is 2^bits - 1; 16 where nothing is said.
    inverted: whether its zero is white and Pillow leaves it so.
    reduced: whether Pillow cuts 16 bits of a channel down to the upper 8.
    """

    def __init__(self, opened: Image.Image):
        tags = getattr(opened, "tag_v2", {})
        white, bits, kind = (
            int(np.ravel(tags.get(tag, default))[0])
            for tag, default in ((MAX_SAMPLE_VALUE, 0), (BITS_PER_SAMPLE, 16), (SAMPLE_FORMAT, 1))
        )
        if white >= 255 and white & (white + 1) == 0:  # other values tell what is in the picture, not what is white
            self.bits = white.bit_length()
        else:
            self.bits = 16 if bits == 32 else bits - (kind == 2)  # of signed integers one bit is the sign
        self.inverted = tags.get(PHOTOMETRIC) == 0
        self.reduced = re.search(r";16[BLN]", str(opened.tile[:1])) is not None


def eight_bits(image: Image.Image, depth: Depth) -> Image.Image:
    """A picture whose channels have 8 bits each; DataError if it cannot be told what is white in it.

    Integers lose their lower bits. Numbers with a fraction are taken as 0 to 1 or, where the brightest shows it, as
    0 to 255.
    """
    if image.mode == "F":
        grey = _fractions(np.asarray(image))
    elif image.mode.startswith("I"):
        grey = _integers(np.asarray(image), depth.bits)
    else:
        if depth.reduced:
            _check_visible(max(high for _, high in image.convert("RGB").getextrema()), "16-bit values", True)
        return image
    grey = 255 - grey if depth.inverted else grey
    clear = image.info.get("transparency")  # the grey value that is not painted
    if isinstance(clear, int):
        grey[np.asarray(image) == clear] = 255
    return Image.fromarray(grey)


def _integers(values: np.ndarray, bits: int) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 2**bits:
        raise DataError(f"its values run from {low} to {high}, and nothing says which of them is white; {REMEDY}")
    grey = (values >> (bits - 8)).astype(np.uint8)
    _check_visible(int(grey.max()), f"{bits}-bit values", high > 0)
    return grey


def _fractions(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 255 or 1 < high < DIMMEST:
        raise DataError(f"its values run from {low:g} to {high:g}, neither from 0 to 1 nor from 0 to 255; {REMEDY}")
    grey = (values if high > 1 else (values * 255).round()).astype(np.uint8)
    _check_visible(int(grey.max()), "values from 0 to 1", high > 0)
    return grey


def _check_visible(peak: int, values: str, lit: bool) -> None:
    if lit and peak < DIMMEST:
        raise DataError(f"its {values} would become nearly black, {peak} of 255 at the brightest; {REMEDY}")
