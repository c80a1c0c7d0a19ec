"""Readers of sets with annotated boxes or attributes, for Coarse2Fine: CUB-200, Aircraft, Dogs and CelebA.

Each reads the layout of the published archives (torchvision's, where it has the set) and the official split, and
returns (train, test). Boxes are moved into the center squares of the images, see `boxes.cropped_boxes`.
"""

from pathlib import Path

from fglib.data.boxes import cropped_boxes, numbers, stored_sides
from fglib.data.folder import Listing, image_sets
from fglib.data.images import Splits
from fglib.data.store import Store
from fglib.data.tables import damaged, look_up, read_lines, read_map, read_mat, read_xml

AIRCRAFT_LEVELS = ("manufacturer", "family", "variant")


def cub200(root: Path, size: int, **options) -> Splits:
    """CUB-200-2011, 5,994 images to train and 5,794 to test; level "species", named with its official number."""
    base = root / "CUB_200_2011"
    files = read_map(base / "images.txt", "image and file")
    images = sorted(files, key=files.get)
    names, table = tuple(files[image] for image in images), base / "bounding_boxes.txt"
    labels = look_up(base / "image_class_labels.txt", "image and class", images)
    classes = look_up(base / "classes.txt", "class and name", labels)
    trains = look_up(base / "train_test_split.txt", "image and split", images, ("0", "1"))
    corners = numbers(table, names, [box.split() for box in look_up(table, "image and box", images)])
    corners[:, 2:] += corners[:, :2]  # from width and height
    boxes = cropped_boxes(corners, stored_sides(base / "images", names), size, table, names)
    everything = Listing(Store(base / "images"), names, tuple((name,) for name in classes), boxes)
    return image_sets(everything.divided([train == "1" for train in trains]), ("species",), size, **options)


def aircraft(root: Path, size: int, **options) -> Splits:
    """FGVC-Aircraft; levels "manufacturer", "family" and "variant"; train is the official train + val.

    The images keep the banner of 20 pixels that their lower border shows.
    """
    base = root / "fgvc-aircraft-2013b/data"
    listings = []
    for split in ("trainval", "test"):
        images = sorted(read_map(base / f"images_variant_{split}.txt", "image and variant"))
        levels = [
            look_up(base / f"images_{level}_{split}.txt", f"image and {level}", images) for level in AIRCRAFT_LEVELS
        ]
        names, table = tuple(f"{image}.jpg" for image in images), base / "images_box.txt"
        corners = numbers(table, names, [box.split() for box in look_up(table, "image and box", images)])
        corners[:, :2] -= 1  # the first pixel is number 1 there, and the last belongs to the box
        boxes = cropped_boxes(corners, stored_sides(base / "images", names), size, table, names)
        listings.append(Listing(Store(base / "images"), names, tuple(zip(*levels)), boxes))
    return image_sets(listings, AIRCRAFT_LEVELS, size, **options)


def dogs(root: Path, size: int, **options) -> Splits:
    """Stanford Dogs; level "breed"; of several dogs in an image the largest box counts."""
    base = root / "stanford_dogs"
    listings = []
    for split in ("train", "test"):
        names = tuple(sorted(str(file) for file in read_mat(base / f"lists/{split}_list.mat", "file_list")))
        breeds = tuple((name.split("/")[0].partition("-")[2],) for name in names)  # n02085620-Chihuahua/<file>
        found = [_largest_box(base / "Annotation" / name.removesuffix(".jpg")) for name in names]
        found = numbers(base / "Annotation", names, found, 6)
        boxes = cropped_boxes(found[:, 2:], found[:, :2], size, base / "Annotation", names)
        listings.append(Listing(Store(base / "Images"), names, breeds, boxes))
    return image_sets(listings, ("breed",), size, **options)


def celeba(root: Path, size: int, **options) -> Splits:
    """CelebA, aligned images: a level of the classes "no" and "yes" for each of 40 attributes, which are crossed.

    Trained on the official training part and tested on the test part; the validation part is left out. The boxes of
    the set belong to other images, those that were not aligned yet, so there are none here.
    """
    base = root / "celeba"
    table = base / "list_attr_celeba.txt"
    lines = [line.split() for _, line in read_lines(table)]
    if len(lines) < 2:
        raise damaged(table, "its second line needs the names of the attributes")
    levels, values = tuple(lines[1]), {name: signs for name, *signs in lines[2:]}
    partition = base / "list_eval_partition.txt"
    images = sorted(read_map(partition, "image and part"))
    parts = look_up(partition, "image and part", images, ("0", "1", "2"))
    listings = []
    for part in ("0", "2"):
        rows = []
        for name in (image for image, own in zip(images, parts) if own == part):
            signs = values.get(name, [])
            if len(signs) != len(levels) or not set(signs) <= {"1", "-1"}:
                raise damaged(table, f"it needs 1 or -1 for each of its {len(levels)} attributes of {name}")
            rows.append((name, tuple("yes" if sign == "1" else "no" for sign in signs)))
        listings.append(Listing.of(base / "img_align_celeba", rows))
    return image_sets(listings, levels, size, **options, crossed=True)


def _largest_box(path: Path) -> tuple[float, ...]:
    """(width, height, x0, y0, x1, y1) of an annotation in the XML format of PASCAL VOC."""
    root = read_xml(path)
    try:
        boxes = [
            tuple(float(box.findtext(corner)) for corner in ("xmin", "ymin", "xmax", "ymax"))
            for box in root.findall("object/bndbox")
        ]
        largest = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        return float(root.findtext("size/width")), float(root.findtext("size/height")), *largest
    except (TypeError, ValueError) as error:
        raise damaged(path, f"it needs the size of the image and the box of an object ({error})") from error
