import io
import sys
import threading
import types

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fglib.data import pixels
from fglib.data.pixels import AREA, decode_image, image_suffixes, open_image, unread_suffixes
from fglib.errors import DataError


def encode(image, kind="PNG", **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def gradient(height, width):
    return (np.arange(height)[:, None] * 7 + np.arange(width) * 3).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_grey_becomes_three_equal_channels(kind):
    grey = gradient(5, 7)
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode_image(encode(Image.fromarray(grey), kind, **options))
    assert pixels.shape == (3, 5, 7)
    assert pixels.dtype == np.uint8
    assert all(np.array_equal(channel, grey) for channel in pixels)


def test_color_stays():
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert np.array_equal(decode_image(encode(Image.fromarray(rgb))), rgb.transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".webp", ".pdf", ".none", ""])
def test_the_ending_of_a_name_may_be_wrong(suffix):
    data = encode(Image.fromarray(gradient(5, 7)))
    assert np.array_equal(decode_image(data, suffix=suffix), decode_image(data))


def test_one_bit_becomes_black_and_white():
    bits = gradient(5, 7) > 20
    assert np.array_equal(decode_image(encode(Image.fromarray(bits)))[1], bits * 255)


def test_transparent_parts_become_white():
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[0, :, :] = 10, 20, 30, 255
    pixels = decode_image(encode(Image.fromarray(rgba)))
    assert pixels[:, 0, 0].tolist() == [10, 20, 30]
    assert pixels[:, 1, 1].tolist() == [255, 255, 255]


def test_a_palette_with_transparency_in_bytes():
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([200, 0, 0, 0, 200, 0])
    pixels = decode_image(encode(image, transparency=b"\xff\x00"))
    assert pixels[:, 0].T.tolist() == [[200, 0, 0], [255, 255, 255]]


def test_a_photograph_is_turned_the_way_its_camera_was():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter
    pixels = decode_image(encode(Image.fromarray(gradient(5, 7)), exif=exif))
    assert np.array_equal(pixels[0], np.rot90(gradient(5, 7), -1))


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (12, 21)])
def test_the_center_square_is_kept(shape):
    height, width = shape
    pixels = np.zeros(shape, dtype=np.uint8)
    top, left = (height - 12) // 2, (width - 12) // 2
    pixels[top : top + 12, left : left + 12] = 100
    out = decode_image(encode(Image.fromarray(pixels)), 6)
    assert out.shape == (3, 6, 6)
    assert (out[:, 1:-1, 1:-1] == 100).all()  # nothing of the black margin reaches the inside


def test_area_is_the_mean_of_the_pixels_below():
    grey = gradient(12, 12)
    means = grey.reshape(4, 3, 4, 3).mean(axis=(1, 3))
    assert np.abs(decode_image(encode(Image.fromarray(grey)), 4, AREA)[0] - means).max() <= 0.5


def test_an_image_of_the_right_size_is_not_touched():
    assert np.array_equal(decode_image(encode(Image.fromarray(gradient(6, 6))), 6)[0], gradient(6, 6))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_eight_bits_are_what_pillow_makes_of_them(mode):
    """Restated through Pillow alone: the conversion to RGB, and alpha over white by the formula."""
    rgba = np.random.default_rng(1).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    image = Image.fromarray(rgba).convert("RGB" if mode in ("P", "CMYK", "YCbCr") else "RGBA").convert(mode)
    kind = {"CMYK": "TIFF", "YCbCr": "JPEG", "PA": "TIFF"}.get(mode, "PNG")
    data = encode(image.convert("LA") if mode == "PA" else image, kind)
    with Image.open(io.BytesIO(data)) as opened:
        if opened.has_transparency_data:
            whole = np.asarray(opened.convert("RGBA")).astype(float)
            color, alpha = whole[..., :3], whole[..., 3:] / 255
            expected = color * alpha + 255 * (1 - alpha)
        else:
            expected = np.asarray(opened.convert("RGB")).astype(float)
    assert np.abs(decode_image(data).transpose(1, 2, 0) - expected).max() <= 0.5 * (mode in ("LA", "PA", "RGBA"))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame(kind):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decode_image(data)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "it is empty"), (b"\0" * 99, "in no image format that can be read")]
)
def test_what_is_no_image_is_said_without_addresses(data, message):
    with pytest.raises(DataError, match=message) as caught:
        decode_image(data, suffix=".png")
    assert "0x" not in str(caught.value)


def test_postscript_is_not_interpreted():
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert Image.open(io.BytesIO(data)).format == "EPS"  # Pillow would start Ghostscript to load it
    with pytest.raises(DataError, match="in no image format that can be read here"):
        decode_image(data, suffix=".jpg")
    assert ".eps" not in image_suffixes()
    assert ".eps" in unread_suffixes()


def test_an_image_beyond_the_limit_is_refused_before_it_is_decoded(monkeypatch):
    data = encode(Image.new("1", (200, 100)))
    monkeypatch.setattr(pixels, "MAX_PIXELS", 20_000)
    assert decode_image(data).shape == (3, 100, 200)
    monkeypatch.setattr(pixels, "MAX_PIXELS", 19_999)
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("was decoded"))
    with pytest.raises(DataError, match=r"it has 200 x 100 pixels, and the limit is 0 million; scale it down"):
        decode_image(data)


def test_pillows_own_limit_is_set_aside_and_left_as_it_was(monkeypatch):
    data = encode(Image.new("1", (200, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow would refuse from 20 on
    assert decode_image(data, 5).shape == (3, 5, 5)
    for bad in (b"", b"no image"):
        with pytest.raises(DataError):
            open_image(io.BytesIO(bad))
    assert Image.MAX_IMAGE_PIXELS == 10


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    inside, most, lock = [], [], threading.Lock()

    def slow(image, depth):
        with lock:
            inside.append(image)
            most.append(len(inside))
        threading.Event().wait(0.02)
        with lock:
            inside.remove(image)
        return image

    monkeypatch.setattr(pixels, "eight_bits", slow)
    data = encode(Image.new("RGB", (20, 10)))

    def decode_in_threads():
        most.clear()
        threads = [threading.Thread(target=decode_image, args=(data,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return max(most)

    assert decode_in_threads() > 1
    monkeypatch.setattr(pixels, "LARGE_PIXELS", 199)
    assert decode_in_threads() == 1


def test_endings():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif", ".ppm"} <= image_suffixes()
    assert {".cr2", ".nef", ".dng", ".jxl", ".svg", ".exr"} <= unread_suffixes()
    assert not image_suffixes() & unread_suffixes()
    for suffix in (".txt", ".csv", ".db", ".json", ".mp4", ".h5", ".mpg", ""):
        assert suffix not in image_suffixes() | unread_suffixes()


def test_heic_is_read_where_its_package_is_installed(monkeypatch):
    """With a stand-in for pillow-heif, which makes Pillow open and name the format in the same way."""

    def register():
        picture = encode(Image.new("RGB", (3, 2), "red"))
        Image.register_open(
            "HEIF", lambda file, name: PngImagePlugin.PngImageFile(io.BytesIO(picture)), lambda start: b"heic" in start
        )
        Image.register_extensions("HEIF", [".heic", ".heif", ".hif"])

    data = b"\0\0\0\x18ftypheic" + b"\0" * 16
    caches = (image_suffixes, unread_suffixes, pixels._formats)
    for attribute in ("OPEN", "EXTENSION", "ID"):
        monkeypatch.setattr(Image, attribute, type(getattr(Image, attribute))(getattr(Image, attribute)))
    try:
        for installed in (False, True):
            module = types.SimpleNamespace(register_heif_opener=register) if installed else None
            monkeypatch.setitem(sys.modules, "pillow_heif", module)
            for cache in caches:
                cache.cache_clear()
            assert (".heic" in image_suffixes(), ".heic" in unread_suffixes()) == (installed, not installed)
            if installed:
                assert decode_image(data, suffix=".heic")[:, 0, 0].tolist() == [255, 0, 0]
            else:
                with pytest.raises(DataError, match="in no image format"):
                    decode_image(data, suffix=".heic")
    finally:
        for cache in caches:
            cache.cache_clear()
