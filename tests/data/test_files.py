import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from fglib.data import files
from fglib.data.files import AREA, FileImages, Store, decode_image
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


def test_sixteen_bits_become_eight():
    deep = gradient(5, 7).astype(np.uint16) * 256 + 9
    assert np.array_equal(decode_image(encode(Image.fromarray(deep)))[0], gradient(5, 7))


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


@pytest.fixture
def many(tmp_path, write_image):
    """150 images in two folders, more than one task of the thread pool takes."""
    names = tuple(f"{'ab'[i % 2]}/{i:03d}.png" for i in range(150))
    for i, name in enumerate(names):
        write_image(tmp_path / name, (i, 0, 255 - i), (4, 4))
    return FileImages(Store(tmp_path), names, 4)


@pytest.mark.parametrize("threads_from", [0, 10**9])
def test_all_at_once_is_one_by_one(many, monkeypatch, threads_from):
    monkeypatch.setattr(files, "THREADS_FROM", threads_from)
    images = many.decode()
    assert images.shape == many.shape == (150, 3, 4, 4)
    assert images[:, 0, 0, 0].tolist() == list(range(150))
    assert all(torch.equal(images[i], many[i]) for i in (0, 63, 64, 149))
    assert torch.equal(many.subset([7, 3]).decode(), images[[7, 3]])


def test_files_can_be_sent_to_another_process(many):
    assert torch.equal(pickle.loads(pickle.dumps(many))[5], many[5])


def test_progress_only_where_one_would_wait(many, monkeypatch, capsys):
    many.decode()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(files, "PROGRESS_FROM", 100)
    many.decode()
    assert "150/150" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [lambda data: b"not an image", lambda data: data[: len(data) // 2], lambda _: b""])
def test_a_damaged_image_is_named_or_left_out_on_demand(many, damage):
    path = many.store.path / many.names[70]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"cannot decode image .*a/070.png .*skip_corrupt=True"):
        many.decode()
    with pytest.raises(DataError, match="a/070.png"):
        many[70]
    with pytest.warns(UserWarning, match="left out 1 of 150 images; the first: .*a/070.png"):
        index = many.readable()
    assert index.tolist() == [i for i in range(150) if i != 70]


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(DataError, match="none of the 1 images"):
        FileImages(Store(tmp_path), ("a.png",), 4).readable()


def test_images_as_they_are_must_be_of_one_size(tmp_path, write_image):
    for name, size in (("a.png", (6, 4)), ("b.png", (6, 4)), ("c.png", (4, 6))):
        write_image(tmp_path / name, size=size)
    images = FileImages(Store(tmp_path), ("a.png", "b.png", "c.png"))
    assert images.shape == (3, 3, 4, 6)
    assert images.subset([0, 1]).decode().shape == (2, 3, 4, 6)
    for read in (images.decode, lambda: images[2]):
        with pytest.raises(DataError, match=r"a.png is 6 x 4 pixels, .*c.png is 4 x 6; name a size"):
            read()


def test_a_zip_archive_reads_like_its_folder(many, tmp_path_factory):
    path = tmp_path_factory.mktemp("zip") / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in many.names:
            archive.write(many.store.path / name, name)
        archive.writestr("__MACOSX/a/._000.png", b"")
        archive.writestr("a/.DS_Store", b"")
    store = Store(path)
    assert store.names() == many.store.names()
    assert torch.equal(FileImages(store, many.names, 4).decode(), many.decode())


def test_a_damaged_archive_is_named(tmp_path):
    path = tmp_path / "broken.zip"
    path.write_bytes(b"PK, but not really")
    with pytest.raises(DataError, match="broken.zip is neither a folder nor a readable zip archive"):
        Store(path).names()
