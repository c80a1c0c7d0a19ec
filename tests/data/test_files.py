import pickle
import zipfile

import pytest
import torch

from fglib.data import files
from fglib.data.files import FileImages
from fglib.data.pixels import _large
from fglib.data.store import Store
from fglib.errors import DataError


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
    with pytest.raises(DataError, match="none of the 1 images under .*; the first: cannot decode image .*a.png"):
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


@pytest.mark.parametrize("first", ["dead link", "gone", "empty", "directory"])
def test_the_first_file_may_be_the_bad_one(many, first):
    path = many.store.path / many.names[0]
    path.unlink()
    if first == "dead link":
        path.symlink_to("/nowhere.png")
    elif first == "empty":
        path.touch()
    elif first == "directory":
        path.mkdir()
    for images in (many, FileImages(many.store, many.names)):  # without a size, the first says how large they are
        with pytest.raises(DataError, match=r"a/000.png \(.*; replace or remove it, or go on without it"):
            images.decode()
        with pytest.warns(UserWarning, match="left out 1 of 150 images; the first: .*a/000.png"):
            kept = images.subset(images.readable().tolist())
        assert kept.decode()[:, 0, 0, 0].tolist() == list(range(1, 150))


def test_a_warning_shows_line_breaks_as_escapes(tmp_path, write_image):
    names = ("a.png", "b\nfglib: all is well\x1b[31m.png")
    for name in names:
        write_image(tmp_path / name)
    (tmp_path / names[1]).write_bytes(b"")
    with pytest.warns(UserWarning) as caught:
        FileImages(Store(tmp_path), names, 4).readable()
    (message,) = (str(warning.message) for warning in caught)
    assert "b\\nfglib: all is well\\x1b[31m.png" in message


def test_large_files_are_read_one_at_a_time(many, monkeypatch):
    monkeypatch.setattr(files, "THREADS_FROM", 0)
    monkeypatch.setattr(files, "LARGE_FILE", 0)
    held = []

    def read(store, name, size):
        held.append(_large._is_owned())
        return (store.path / name).read_bytes()

    monkeypatch.setattr(Store, "read", read)
    assert many.decode()[:, 0, 0, 0].tolist() == list(range(150))
    assert len(held) == 150
    assert all(held)


def test_more_than_fits_into_memory_is_said(many, monkeypatch):
    def full(shape, dtype):
        raise MemoryError

    monkeypatch.setattr(files.np, "empty", full)
    with pytest.raises(DataError, match=r"150 images under .* take 0 GB decoded, more memory than there is; take"):
        many.decode()
