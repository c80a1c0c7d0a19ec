import zipfile
from dataclasses import replace

import pytest
import torch

from fglib.data import folder
from fglib.data.folder import has_split, image_sets, list_images, read_folder, split_listing
from fglib.errors import ConfigError, DataError


@pytest.fixture
def catalogue(tmp_path, write_image):
    """train and test of two coarse and three fine classes; the red channel numbers the fine class."""
    for split, count in (("train", 3), ("test", 1)):
        for k, where in enumerate(("bags/tote", "shoes/boot", "shoes/pump")):
            for i in range(count):
                write_image(tmp_path / "shop" / split / where / f"{i}.png", (10 * k, i, 0), (6, 4))
    return tmp_path / "shop"


def test_folders_are_the_classes(catalogue):
    images = read_folder(catalogue, "train", size=4)
    assert images.hierarchy.levels == ("coarse", "fine")
    assert images.hierarchy.classes == {"coarse": ("bags", "shoes"), "fine": ("boot", "pump", "tote")}
    assert images.hierarchy.parents == {"fine": (1, 1, 0)}
    assert images.images.shape == (9, 3, 4, 4)
    assert images.labels("fine").tolist() == [2] * 3 + [0] * 3 + [1] * 3
    assert images.images[:, 0, 0, 0].tolist() == [0] * 3 + [10] * 3 + [20] * 3
    assert images.paths[:2] == ("train/bags/tote/0.png", "train/bags/tote/1.png")


def test_names_of_levels_and_images_as_they_are(catalogue):
    images = read_folder(catalogue, "test", levels=["kind", "model"])
    assert images.hierarchy.levels == ("kind", "model")
    assert images.images.shape == (3, 3, 4, 6)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_any_depth(tmp_path, write_image, depth):
    for top in "ab":
        write_image(tmp_path.joinpath(*(f"{top}{k}" for k in range(depth)), "x.png"))
    images = read_folder(tmp_path)
    expected = ("coarse", "fine") if depth == 2 else tuple(f"level{k + 1}" for k in range(depth))
    assert images.hierarchy.levels == expected
    assert all(images.labels(level).tolist() == [0, 1] for level in expected)


def test_equal_leaves_need_qualified_names(tmp_path, write_image):
    for name in ("bags/red/0.png", "shoes/red/0.png"):
        write_image(tmp_path / name)
    with pytest.raises(ConfigError, match="'red' of level 'fine' lies under 'bags' and under 'shoes'"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, qualify=True).hierarchy.classes["fine"] == ("bags/red", "shoes/red")


@pytest.mark.parametrize("top", ["", "shop/"])
def test_a_zip_reads_like_the_folder_also_with_its_name_inside(catalogue, tmp_path, top):
    path = tmp_path / "shop.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in catalogue.rglob("*.png"):
            archive.write(file, top + file.relative_to(catalogue).as_posix())
    zipped, plain = read_folder(path, "train", size=4), read_folder(catalogue, "train", size=4)
    assert torch.equal(zipped.images, plain.images)
    assert zipped.hierarchy == plain.hierarchy
    assert zipped.paths == tuple(top + name for name in plain.paths)


def test_what_is_no_image_is_passed_over(catalogue):
    (catalogue / "train/bags/tote/notes.txt").write_text("to sort")
    (catalogue / "train/.DS_Store").write_bytes(b"x")
    (catalogue / "train/.cache/x").mkdir(parents=True)
    assert len(read_folder(catalogue, "train", size=4)) == 9


def test_endings_may_be_capital_and_of_any_format(tmp_path, write_image):
    for name in ("a.JPG", "b.jpeg", "c.webp", "d.bmp", "e.tif", "f.gif"):
        write_image(tmp_path / "class" / name, (200, 200, 200))
    images = read_folder(tmp_path).images
    assert len(images) == 6
    assert (images.float() - 200).abs().max() <= 2


def test_missing_places(catalogue, tmp_path):
    with pytest.raises(DataError, match="no folder or zip archive .*nowhere"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"shop has no folder 'val' \(it has test, train\); expected train/<class>/"):
        read_folder(catalogue, "val")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="no images below .*void"):
        read_folder(tmp_path / "void")
    assert has_split(catalogue, "test")
    assert not has_split(catalogue, "val")
    with pytest.raises(DataError, match="no folder or zip archive .*nowhere"):
        has_split(tmp_path / "nowhere", "test")


@pytest.mark.parametrize("where", ["bags/clutch", "hats", "hats/cap"])
def test_an_empty_class_folder_is_named(catalogue, where):
    (catalogue / "train" / where).mkdir(parents=True)
    with pytest.raises(DataError, match=f"class folder .*train/{where.split('/')[0]}.* holds no images"):
        read_folder(catalogue, "train", size=4)
    assert len(read_folder(catalogue, "test", size=4)) == 3


def test_unequal_depth_is_named(catalogue, write_image):
    write_image(catalogue / "train/shoes/9.png")
    with pytest.raises(DataError, match=r"train/shoes/9.png lies 1 class folders deep, .*tote/0.png 2"):
        read_folder(catalogue, "train", size=4)


def test_images_outside_of_class_folders(tmp_path, write_image):
    write_image(tmp_path / "0.png")
    with pytest.raises(DataError, match="0.png lies 0 class folders deep; every image needs"):
        read_folder(tmp_path)


def test_levels_must_fit_the_depth(catalogue):
    for levels in (("a", "b", "c"), ("a",), (), ("a", "a"), ("a", ""), ("a", 1), ("a", "everything"), "ab"):
        with pytest.raises(ConfigError, match="levels must be 2 different names.* none may be 'everything'; got "):
            read_folder(catalogue, "train", levels=levels)


@pytest.mark.parametrize("resident", [True, False])
def test_damaged_images_are_left_out_on_demand(catalogue, resident):
    (catalogue / "train/shoes/boot/1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="shoes/boot/1.png"):
        list(read_folder(catalogue, "train", size=4, resident=resident).images)
    with pytest.warns(UserWarning, match="left out 1 of 9"):
        images = read_folder(catalogue, "train", size=4, resident=resident, skip_corrupt=True)
    assert images.labels("fine").tolist() == [2] * 3 + [0] * 2 + [1] * 3
    assert [int(image[0, 0, 0]) for image in images.images] == [0] * 3 + [10] * 2 + [20] * 3


def test_large_sets_stay_on_disk(catalogue, monkeypatch):
    assert read_folder(catalogue, "train", size=4).resident
    monkeypatch.setattr(folder, "RESIDENT_BYTES", 9 * 3 * 4 * 4 - 1)
    images = read_folder(catalogue, "train", size=4)
    assert not images.resident
    assert torch.equal(torch.stack(list(images.images)), read_folder(catalogue, "train", size=4, resident=True).images)
    with pytest.raises(ConfigError, match="resident must be true, false or 'auto', not 'no'"):
        read_folder(catalogue, "train", size=4, resident="no")


def test_a_drawn_test_part_is_stratified_and_always_the_same(tmp_path, write_image):
    counts = {"a": 10, "b": 5, "c": 3, "d": 1, "e": 2, "f": 2, "g": 2}
    for name, count in counts.items():
        for i in range(count):
            write_image(tmp_path / name / f"{i}.png")
    listing = list_images(tmp_path)
    train, test = split_listing(listing, 0.4)
    assert sorted(train.names + test.names) == list(listing.names)
    for name, count in counts.items():
        share = test.classes.count((name,))
        assert abs(share - 0.4 * count) < 1
        assert share < count
    assert abs(len(test.names) - 0.4 * 25) <= 1
    assert split_listing(listing, 0.4)[1] == test
    assert split_listing(listing, 0.4, seed=1)[1].names != test.names
    for name, path in zip(test.names, test.classes):
        assert name.startswith(path[0] + "/")


def test_a_test_part_needs_images_to_spare(tmp_path, write_image):
    for name in "ab":
        write_image(tmp_path / name / "0.png")
    with pytest.raises(DataError, match="too few images for a test fraction of 0.5"):
        split_listing(list_images(tmp_path), 0.5)
    for fraction in (0, 1, -0.5):
        with pytest.raises(ConfigError, match="test_fraction must lie between 0 and 1"):
            split_listing(list_images(tmp_path), fraction)


def test_images_that_cannot_be_read_are_counted(catalogue):
    (catalogue / "train/bags/tote/notes.txt").write_text("to sort")
    (catalogue / "train/Thumbs.db").write_bytes(b"x")
    for i in range(3):
        (catalogue / f"train/bags/tote/IMG_{i}.HEIC").write_bytes(b"x")
    (catalogue / "train/bags/tote/IMG_3.cr2").write_bytes(b"x")
    (catalogue / "test/bags/tote/IMG.svg").write_bytes(b"x")
    if ".heic" in folder.image_suffixes():
        pytest.skip("pillow-heif is installed, so HEIC is read")
    message = r"shop/train: left out 4 files that cannot be read as images: 3 .heic, 1 .cr2; convert .* pillow-heif"
    with pytest.warns(UserWarning, match=message) as caught:
        assert len(read_folder(catalogue, "train", size=4)) == 9
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="shop/test: left out 1 file that .*: 1 .svg; convert them to JPEG or PNG$"):
        read_folder(catalogue, "test", size=4)
    for path in (catalogue / "train/bags/tote").glob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="class folder .*train/bags holds no images but 4 files that cannot be read"):
        read_folder(catalogue, "train", size=4)
    for path in (catalogue / "train").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"no images below .*train but 4 files that cannot be read .*3 .heic, 1 .cr2"):
        read_folder(catalogue, "train", size=4)


def test_a_class_folder_that_is_a_dead_link_is_named(catalogue):
    (catalogue / "train/bags/clutch").symlink_to("/nowhere")
    with pytest.raises(DataError, match="train/bags/clutch is a link to something that does not exist; mend or remove"):
        read_folder(catalogue, "train", size=4)


@pytest.mark.parametrize("files", [(), ("0.png",), ("notes.txt",)])
@pytest.mark.parametrize("zipped", [False, True])
def test_flat_and_empty_places_say_which_layout_is_expected(tmp_path, write_image, files, zipped):
    place = tmp_path / "flat"
    place.mkdir()
    for name in files:
        write_image(place / "0.png").rename(place / name)
    if zipped:
        with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
            for name in files:
                archive.write(place / name, name)
        place = tmp_path / "flat.zip"
    for split in ("train", "test"):
        with pytest.raises(DataError, match=rf"no folder '{split}' \(it has no folders and {len(files)} files\); "):
            read_folder(place, split)
    assert not has_split(place, "train")
    if files != ("0.png",):
        with pytest.raises(DataError, match="no images below .*flat.*; expected train/<class>/.../<file> and test/"):
            read_folder(place)


def test_a_split_without_images_is_an_error(catalogue):
    train = list_images(catalogue, "train")
    with pytest.raises(DataError, match="shop: a split would have no images"):
        image_sets([train, train.subset([])], ("coarse", "fine"), 4)


def test_a_box_that_is_not_known_is_an_error(catalogue):
    boxes = torch.tensor([[0.0, 0, 2, 2]] * 9)
    boxes[4] = torch.nan
    train = replace(list_images(catalogue, "train"), boxes=boxes)
    for resident in (True, False):  # the image can be read now, and could not when its size was asked for
        with pytest.raises(DataError, match="the box of .*shoes/boot/1.png is not known; read the set again"):
            image_sets([train], ("coarse", "fine"), 4, resident=resident)
    (catalogue / train.names[4]).write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot decode image .*shoes/boot/1.png"):
        image_sets([train], ("coarse", "fine"), 4, resident=False)
    with pytest.warns(UserWarning, match="left out 1 of 9"):
        (images,) = image_sets([train], ("coarse", "fine"), 4, skip_corrupt=True)
    assert images.boxes.isfinite().all()
