import os
import struct
import tracemalloc
import zipfile

import pytest

from fglib.data import store
from fglib.data.store import Store
from fglib.errors import DataError

FILES = {"train/a/0.txt": b"zero" * 50, "train/a/1.txt": b"one" * 50, "test/b/2.txt": b"two" * 50}


def pack(path, files=FILES, rename=lambda name: name, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.compress_type = rename(name), method
            archive.writestr(entry, content)
    return Store(path)


def patch(path, local, central, value):
    """Writes a number of two bytes at these places of every local and central header of an archive."""
    data = bytearray(path.read_bytes())
    for start, place in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = data.find(start)
        while at >= 0:
            struct.pack_into("<H", data, at + place, value)
            at = data.find(start, at + 4)
    path.write_bytes(data)


def plant(folder, files=FILES):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return Store(folder)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: "./" + name,
        lambda name: "/" + name,
        lambda name: name.replace("/", "\\"),
        lambda name: ".\\" + name.replace("/", "//"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_is_read_as_it_would_unpack(tmp_path, rename, method):
    folder = plant(tmp_path / "folder")
    archive = pack(tmp_path / "a.zip", rename=rename, method=method)
    assert archive.names() == folder.names()
    assert archive.names() == (sorted(FILES), ["test", "test/b", "train", "train/a"])
    for name, content in FILES.items():
        for read in (archive, folder):
            assert read.read(name) == content
            assert read.size(name) == len(content)


def test_empty_folders_are_named(tmp_path):
    plant(tmp_path / "folder", {"a/0": b""})
    (tmp_path / "folder/b/c").mkdir(parents=True)
    expected = ["a/0"], ["a", "b", "b/c"]
    assert Store(tmp_path / "folder").names() == expected
    assert pack(tmp_path / "a.zip", {"a/0": b"", "b/": b"", "b/c/": b""}).names() == expected
    assert pack(tmp_path / "b.zip", {"a\\0": b"", "b\\c\\": b""}).names() == expected
    assert pack(tmp_path / "c.zip", {}).names() == ([], [])


def test_hidden_files_are_passed_over(tmp_path):
    junk = {"__MACOSX/train/._0": b"", "train/.DS_Store": b"", ".git/x/y": b"", "train/.cache/z/w": b""}
    expected = Store(plant(tmp_path / "plain").path).names()
    assert plant(tmp_path / "folder", FILES | junk).names() == expected
    assert pack(tmp_path / "a.zip", FILES | junk).names() == expected


@pytest.mark.parametrize("name", ["../0.txt", "train/../../0.txt", "train\\..\\0.txt"])
def test_a_name_outside_of_the_archive_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"a.zip holds .*0.txt, which lies outside the archive; pack it anew"):
        pack(tmp_path / "a.zip", {name: b"", **FILES}).names()


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a\0b"])
def test_a_name_outside_of_the_folder_is_refused(tmp_path, name):
    (tmp_path / "secret").write_text("x")
    for ask in (plant(tmp_path / "folder").read, Store(tmp_path / "folder").size):
        with pytest.raises(DataError, match=r"cannot read .* \((it lies outside|embedded null byte)"):
            ask(name)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name(tmp_path):
    path = tmp_path / "a.zip"
    for second, fine in ((b"same", True), (b"else", False)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("train/0", b"same")
            archive.writestr("train/0", second)
        os.utime(path, ns=(0, int(fine)))
        if fine:
            assert Store(path).names() == (["train/0"], ["train"])
            assert Store(path).read("train/0") == b"same"
        else:
            with pytest.raises(DataError, match="a.zip holds two different files called train/0; pack it anew"):
                Store(path).names()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: patch(path, 6, 8, 1), "is encrypted, .*unpack the archive and read the folder"),
        (lambda path: patch(path, 8, 10, 9), r"compression method is not supported; unpack the archive and read"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"zerozero", b"zeroZERO", 1)), "Bad CRC-32"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"PK\x03\x04", b"PK\x05\x05", 1)), "Bad magic number"),
    ],
)
def test_a_member_that_cannot_be_read_is_named_with_its_archive(tmp_path, damage, message):
    archive = pack(tmp_path / "a.zip")
    damage(archive.path)
    with pytest.raises(DataError, match=rf"cannot read .*a.zip/train/a/0.txt \(.*{message}"):
        archive.read("train/a/0.txt")


def test_a_compressed_member_that_is_damaged_is_named(tmp_path):
    archive = pack(tmp_path / "a.zip", {"a/0": os.urandom(999) + bytes(99_999)}, method=zipfile.ZIP_DEFLATED)
    data = bytearray(archive.path.read_bytes())
    data[60:90] = bytes(30)
    archive.path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot read .*a.zip/a/0 \(.+\)"):
        archive.read("a/0")


def test_what_is_no_archive_is_named(tmp_path):
    for content in (b"PK, but not really", b"", pack(tmp_path / "whole.zip").path.read_bytes()[:-30]):
        (tmp_path / "broken.zip").write_bytes(content)
        with pytest.raises(DataError, match="broken.zip is neither a folder nor a readable zip archive"):
            Store(tmp_path / "broken.zip").names()
    with pytest.raises(DataError, match="nowhere is neither a folder nor a readable zip archive"):
        Store(tmp_path / "nowhere").names()


def test_an_archive_that_changes_is_opened_anew(tmp_path):
    path = tmp_path / "a.zip"
    assert pack(path, {"a/0": b"before"}).read("a/0") == b"before"
    state = path.stat()
    for files in ({"b/1": b"", "a/0": b"longer than before"}, {"a/0": b"beside"}):  # `beside` is as long as `before`
        path.unlink()
        pack(path, files)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert Store(path).read("a/0") == files["a/0"]
        assert Store(path).names()[0] == sorted(files)
    pack(path, {"c/2": b""})
    with pytest.raises(DataError, match=r"a.zip/a/0 \(it is not in the archive\)"):
        Store(path).read("a/0")


def test_too_much_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MAX_FILE", 199)
    folder = plant(tmp_path / "folder")
    for read in (pack(tmp_path / "a.zip", method=zipfile.ZIP_DEFLATED), folder):
        assert read.read("train/a/1.txt") == FILES["train/a/1.txt"]
        with pytest.raises(DataError, match=r"0.txt \(it holds 200 bytes, and the limit is 199\)"):
            read.read("train/a/0.txt")


def test_a_member_that_holds_more_than_it_claims_is_not_unpacked(tmp_path):
    """30 MB that claim to be 9 bytes: what is held at any time stays small."""
    archive = pack(tmp_path / "a.zip", {"a/0": bytes(30_000_000)}, method=zipfile.ZIP_DEFLATED)
    data = archive.path.read_bytes()
    archive.path.write_bytes(data.replace(struct.pack("<I", 30_000_000), struct.pack("<I", 9)))
    assert archive.size("a/0") == 9
    tracemalloc.start()
    with pytest.raises(DataError, match="a.zip/a/0"):
        archive.read("a/0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_what_is_no_file_is_named(tmp_path):
    root = plant(tmp_path / "folder")
    os.symlink("/nowhere/0", root.path / "dead")
    os.mkfifo(root.path / "pipe")  # reading it would wait for ever
    for name, message in (
        ("dead", "it does not exist, or is a link to something that does not"),
        ("gone", "it does not exist"),
        ("pipe", "it is not a file"),
        ("train", "it is not a file"),
        ("x" * 300, "File name too long"),
    ):
        with pytest.raises(DataError, match=rf"cannot read .*{name} \({message}"):
            root.read(name)


def test_links_are_followed_but_not_in_circles(tmp_path):
    plant(tmp_path / "elsewhere", {"0": b"x"})
    root = plant(tmp_path / "folder", {"a/1": b"y"})
    os.symlink(tmp_path / "elsewhere", root.path / "b")
    assert root.names() == (["a/1", "b/0"], ["a", "b"])
    os.symlink(root.path, root.path / "a/again")
    with pytest.raises(DataError, match="a/again is a link to a folder that it lies in; remove it"):
        root.names()


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    root, scan = plant(tmp_path / "folder"), os.scandir

    def deny(path):
        if str(path).endswith("train"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(DataError, match=r"cannot list the folder .*train \(Permission denied\)"):
        root.names()
