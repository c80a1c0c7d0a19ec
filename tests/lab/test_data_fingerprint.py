"""Fingerprints of data: a file added, removed, renamed or edited, a label moved; not the folder it lies in."""

import shutil
import zipfile

import pytest

from fglib.data.sources import SOURCES
from fglib.errors import DataError
from fglib.lab.data_fingerprint import data_fingerprint


@pytest.fixture
def catalogue(tmp_path, write_image):
    root = tmp_path / "catalogue"
    for split, count in (("train", 3), ("test", 2)):
        for i, (coarse, fine) in enumerate((("a", "x"), ("a", "y"), ("b", "z"))):
            for k in range(count):
                write_image(root / split / coarse / fine / f"{k}.png", (40 * i, 50 * k, 7))
    return root


def take(root, **options):
    return data_fingerprint("folder", size=8, path=str(root), **options)


def test_it_ends_with_the_numbers_of_images_and_decodes_none(catalogue):
    before = take(catalogue)
    assert before.endswith("-9-6") and len(before.split("-")[0]) == 16
    broken = catalogue / "train/a/x/0.png"
    broken.write_bytes(broken.read_bytes()[:20])
    assert take(catalogue) != before  # and no error


def test_what_changes_it(catalogue, write_image):
    before = take(catalogue)
    first = catalogue / "train/a/x/0.png"
    data = first.read_bytes()

    first.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # of the same size
    edited = take(catalogue)
    first.write_bytes(data)
    assert edited != before == take(catalogue)

    added = write_image(catalogue / "train/a/x/new.png")
    assert take(catalogue).endswith("-10-6")
    added.unlink()

    first.rename(first.with_name("7.png"))
    assert take(catalogue) not in (before, edited)
    first.with_name("7.png").rename(first)

    (catalogue / "train/a/x").rename(catalogue / "train/b/x")
    (catalogue / "test/a/x").rename(catalogue / "test/b/x")
    assert take(catalogue) != before


def test_what_does_not(catalogue, tmp_path):
    before = take(catalogue)
    moved = tmp_path / "elsewhere"
    shutil.copytree(catalogue, moved)
    assert take(moved) == before == take(catalogue, resident=True) == take(catalogue, resident=False)
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for file in sorted(catalogue.rglob("*.png")):
            archive.write(file, file.relative_to(catalogue))
    assert take(tmp_path / "c.zip") == before


def test_a_set_made_by_the_library_has_that_of_its_code():
    made = {name: data_fingerprint(name, size=16) for name, s in SOURCES.items() if not s.places and name != "folder"}
    assert {"patches", "nested_patches", "parts", "digits"} <= made.keys()
    assert len(set(made.values())) == len(made) and not any("-" in text for text in made.values())
    assert data_fingerprint("patches", size=32) == made["patches"]


def test_a_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="'omniglot' is not under"):
        data_fingerprint("omniglot", root=tmp_path)


def test_sets_held_in_memory_have_that_of_their_pixels(need_data):
    root = need_data("omniglot")
    one = data_fingerprint("omniglot", root=root, size=8)
    assert one == data_fingerprint("omniglot", root=root, size=8) != data_fingerprint("omniglot", root=root, size=9)
