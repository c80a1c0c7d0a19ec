"""Pictures of more than 8 bits, their values restated pixel by pixel."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fglib.data.pixels import decode_image
from fglib.errors import DataError

RAMP = np.tile(np.linspace(0, 1, 61), (5, 1))
MAX_SAMPLE_VALUE = 281


def encode(values, kind="TIFF", **options):
    data = io.BytesIO()
    Image.fromarray(values).save(data, kind, **options)
    return data.getvalue()


def tiff(values, white):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[MAX_SAMPLE_VALUE] = white
    return encode(values, tiffinfo=tags)


def pgm(values, white):
    body = b"".join(int(value).to_bytes(2, "big") for value in values.flatten())
    return f"P5 {values.shape[1]} {values.shape[0]} {white}\n".encode() + body


def check(data, expected):
    """Three equal channels, each value the expected one."""
    read = decode_image(data)
    assert read.dtype == np.uint8
    for channel in read:
        for row, wanted in zip(channel.tolist(), expected):
            assert row == wanted


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_sixteen_bits_keep_their_upper_eight(kind):
    values = (RAMP * 65535).astype(np.uint16)
    check(encode(values, kind), [[int(value) // 256 for value in row] for row in values])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_a_stated_depth_says_what_is_white(bits, dtype):
    white = 2**bits - 1
    values = (RAMP * white).astype(dtype)
    check(tiff(values, white), [[int(value) * 256 // 2**bits for value in row] for row in values])


@pytest.mark.parametrize("white", [1000, 4095, 65535])
def test_a_pgm_states_its_white(white):
    values = (RAMP * white).astype(int)
    read = decode_image(pgm(values, white), suffix=".pgm")[0]
    assert np.abs(read - values / white * 255).max() <= 1
    assert (read.min(), read.max()) == (0, 255)


def test_twelve_bits_packed():
    """Two values in three bytes, which Pillow reads and does not write."""
    values = [[0, 16, 2047, 4095], [4080, 1, 256, 3000]]
    body = b"".join((a << 12 | b).to_bytes(3, "big") for row in values for a, b in zip(row[::2], row[1::2]))
    entries = [(256, 4), (257, 2), (258, 12), (259, 1), (262, 1), (273, 0), (277, 1), (278, 2), (279, len(body))]
    start = 8 + 2 + 12 * len(entries) + 4
    data = b"II*\0" + (8).to_bytes(4, "little") + len(entries).to_bytes(2, "little")
    for tag, value in entries:
        value = start if tag == 273 else value
        data += b"".join(v.to_bytes(n, "little") for v, n in ((tag, 2), (4, 2), (1, 4), (value, 4)))
    check(data + b"\0\0\0\0" + body, [[value // 16 for value in row] for row in values])


def test_fractions_from_0_to_1_and_from_0_to_255():
    values = RAMP.astype(np.float32)
    check(encode(values), [[round(float(np.float32(value * 255))) for value in row] for row in values])
    check(encode(values * 255), [[int(np.float32(value * 255)) for value in row] for row in values])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_black_is_black(dtype):
    check(encode(np.zeros((2, 3), dtype)), [[0, 0, 0]] * 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((RAMP * 4095).astype(np.uint16), "its 16-bit values would become nearly black, 15 of 255 at the brightest"),
        ((RAMP * 16383).astype(np.uint16), "nearly black, 63 of 255 .* MaxSampleValue says which value is white"),
        ((RAMP * 255).astype(np.int32), "nearly black, 0 of 255"),
        ((RAMP * 65536).astype(np.int32), "its values run from 0 to 65536, and nothing says which of them is white"),
        ((RAMP * 300 - 9).astype(np.int32), "its values run from -9 to 291, and nothing says"),
        ((RAMP * 0.2).astype(np.float32), "its values from 0 to 1 would become nearly black, 51 of 255"),
        ((RAMP * 20).astype(np.float32), "run from 0 to 20, neither from 0 to 1 nor from 0 to 255"),
        ((RAMP * 256).astype(np.float32), "run from 0 to 256, neither"),
        ((RAMP - 0.5).astype(np.float32), "run from -0.5 to 0.5, neither"),
        (np.array([[0, np.nan]], np.float32), "run from nan to nan, neither"),
        (np.array([[0, np.inf]], np.float32), "run from 0 to inf, neither"),
    ],
)
def test_values_of_which_none_is_known_as_white_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        decode_image(encode(values))


def test_a_greatest_value_that_states_no_depth_is_not_taken_for_white():
    values = (RAMP * 3000).astype(np.uint16)
    for white, message in ((3000, "nearly black, 11 of 255"), (2047, "its values run from 0 to 3000")):
        with pytest.raises(DataError, match=message):
            decode_image(tiff(values, white))


def test_zero_may_be_white():
    values = (RAMP * 65535).astype(np.uint16)
    check(_inverted(values), [[255 - int(value) // 256 for value in row] for row in values])


def _inverted(values):
    """A TIFF whose tag 262, the photometric interpretation, is 0."""
    data = bytearray(encode(values))
    place = data.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    assert data[place + 8] == 1
    data[place + 8] = 0
    return bytes(data)


def test_a_grey_value_that_is_not_painted_becomes_white():
    values = np.array([[0, 40000, 65535]], dtype=np.uint16)
    check(encode(values, "PNG", transparency=40000), [[0, 255, 255]])


def rgb_png(values):
    """A PNG with 16 bits for each of three channels, which Pillow reads and does not write."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colour_of_sixteen_bits():
    full = (np.random.default_rng(0).random((4, 5, 3)) * 65535).astype(np.uint16)
    assert np.array_equal(decode_image(rgb_png(full)), (full >> 8).transpose(2, 0, 1))
    with pytest.raises(DataError, match="its 16-bit values would become nearly black, 15 of 255"):
        decode_image(rgb_png(full >> 4))
