"""One encoded image as pixels: which formats are read, how large an image may be, what its values mean."""

import io
import threading
from contextlib import nullcontext, suppress
from functools import lru_cache
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fglib.data.depth import Depth, eight_bits
from fglib.errors import DataError

BILINEAR, AREA = Image.Resampling.BILINEAR, Image.Resampling.BOX  # Pillow antialiases both when it shrinks
MAX_PIXELS = 250_000_000  # of an image; the largest sensors of phones and of medium format have 200 million
LARGE_PIXELS, LARGE_FILE = 50_000_000, 100_000_000  # pixels or bytes of which threads decode one image at a time
# Formats that Pillow names and does not decode, or only with a program that interprets the file
PASSED_OVER = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
UNREAD = (  # endings of images in formats that Pillow does not read: raw photographs first, then others
    "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f "
    "ai avif bpg dcm djvu emf eps exr hdr heic heif hif jxl jxr psb svg svgz wmf xcf"
)

_pillows_limit = threading.Lock()
_large = threading.RLock()


def decode_image(
    data: bytes, size: int | None = None, resample: Image.Resampling = BILINEAR, suffix: str = ""
) -> np.ndarray:
    """An encoded image as uint8 RGB (3,H,W): short side scaled to `size`, then the center square.

    Grey is repeated to three channels, deeper values become 8 bits (see `depth`), transparent parts become white, as
    on a page. Of an animation this is the first frame.
    suffix: ending of the file's name; it may be wrong.
    Raises DataError for an unknown format, more than MAX_PIXELS pixels and values of which none is known as white;
    a damaged file makes Pillow fail in any way it can.
    """
    with open_image(io.BytesIO(data), suffix) as opened, one_at_a_time(opened.width * opened.height > LARGE_PIXELS):
        depth = Depth(opened)
        image = eight_bits(ImageOps.exif_transpose(opened), depth)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), resample, box=center_square(*image.size))
    return np.asarray(image).transpose(2, 0, 1)


def open_image(file: BinaryIO, suffix: str = "") -> Image.Image:
    """An image whose header is read and whose pixels are not; DataError if its format is unknown or it is too large."""
    with _pillows_limit:  # a global, which would warn of large photographs; ours is checked below
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=_formats(suffix.lower()))
        except UnidentifiedImageError:  # its message is the address of a buffer
            empty = not file.seek(0, io.SEEK_END)
            raise DataError("it is empty" if empty else "it is in no image format that can be read here") from None
        finally:
            Image.MAX_IMAGE_PIXELS = theirs
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise DataError(
            f"it has {image.width} x {image.height} pixels, and the limit is {MAX_PIXELS // 10**6} million; scale it "
            "down"
        )
    return image


def one_at_a_time(large: bool):
    """A context in which a large image is decoded while no other is, for eight at once could fill the memory."""
    return _large if large else nullcontext()


@lru_cache
def image_suffixes() -> frozenset[str]:
    """Endings of the names of files that can be read as images; HEIC where the package pillow-heif is installed."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    known = Image.registered_extensions()
    return frozenset(suffix for suffix, kind in known.items() if kind in Image.OPEN and kind not in PASSED_OVER)


@lru_cache
def unread_suffixes() -> frozenset[str]:
    """Endings of the names of files that are images as well, and cannot be read here."""
    return frozenset(f".{name}" for name in UNREAD.split()) - image_suffixes()


@lru_cache
def _formats(suffix: str) -> tuple[str, ...]:
    """All formats, that of the ending first: a third of the time of a small WebP went into trying the others."""
    image_suffixes()  # makes all formats known
    likely = Image.registered_extensions().get(suffix)
    return tuple(sorted((kind for kind in Image.OPEN if kind not in PASSED_OVER), key=lambda kind: kind != likely))


def center_square(width: int, height: int) -> tuple[float, float, float, float]:
    """The largest square (x0, y0, x1, y1) in the middle of an image."""
    side = min(width, height)
    x, y = (width - side) / 2, (height - side) / 2
    return x, y, x + side, y + side
