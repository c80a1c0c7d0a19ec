"""The table of named data sets: what each is, where it lies, how to get it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fglib.data.made import maps, parts, patches
from fglib.data.sets import annotated, fine_grained, readers, taxonomies


@dataclass(frozen=True)
class Source:
    """One named data set.

    read: the function that reads it, (root, size, *, options), or (size, *, options) when it needs no root.
    size: default side of its images in pixels.
    places: where it may lie below the data root, any one of them; none if it comes with the package.
    fetch: torchvision's class that downloads it and the arguments for it.
    into: the folder below the data root that it downloads into, if not the root itself.
    tables: addresses of archives with labels that torchvision's class leaves out.
    """

    read: Callable
    levels: tuple[str, ...]
    size: int
    what: str
    licence: str
    how: str
    places: tuple[str, ...] = ()
    fetch: tuple[str, dict] | None = None
    into: str = ""
    tables: tuple[str, ...] = ()

    def options(self) -> dict[str, inspect.Parameter]:
        """The options that `load` takes for this set."""
        parameters = inspect.signature(self.read).parameters
        return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


IN_THE_BOX = "nothing to get, it comes with the package"


def _inaturalist(year: int, size: str) -> Source:
    home = f"https://ml-inat-competition-datasets.s3.amazonaws.com/{year}/"
    archives = [f"{name}.json.tar.gz" for name in (f"train{year}", f"val{year}", "categories")]
    return Source(
        partial(taxonomies.inaturalist, year),
        taxonomies.RANKS,
        224,
        f"iNaturalist {year}, training and validation split of the competition",
        "non-commercial research and education; terms of github.com/visipedia/inat_comp",
        f"let download=True fetch it ({size}), or unpack train_val{year}.tar.gz, {', '.join(archives)} of "
        f"github.com/visipedia/inat_comp (folder {year}) into inaturalist{year}/",
        (f"inaturalist{year}/train_val{year}", f"inaturalist{year}/{year}"),  # the latter is where torchvision puts it
        ("INaturalist", {"version": str(year)}),
        f"inaturalist{year}",
        tuple(home + name for name in archives),
    )


SOURCES = {
    "digits": Source(
        readers.digits,
        ("group", "digit"),
        16,
        "scikit-learn's handwritten digits, grouped into closed loops (0 6 8 9), straight strokes (1 4 7) and open "
        "curves (2 3 5)",
        "CC BY 4.0",
        IN_THE_BOX,
    ),
    "patches": Source(
        patches.patches, ("big", "small"), 64, "synthetic patches of patterns, Sec. 4.1", "made here", IN_THE_BOX
    ),
    "nested_patches": Source(
        patches.nested_patches, ("big", "small"), 64, "synthetic patches in a tree", "made here", IN_THE_BOX
    ),
    "parts": Source(
        parts.parts,
        ("kind", "model"),
        64,
        "synthetic birds on clutter, whose models differ in one small part, with exact boxes of object and parts",
        "made here",
        IN_THE_BOX,
    ),
    "part_attributes": Source(
        parts.part_attributes,
        parts.ATTRIBUTES,
        64,
        "the synthetic birds of parts, labelled with six binary attributes",
        "made here",
        IN_THE_BOX,
    ),
    "interpolations": Source(
        maps.interpolations,
        ("interpolation",),
        12,
        "attention-like maps for the pre-training of an up-sampler",
        "made here",
        IN_THE_BOX,
    ),
    "omniglot": Source(
        readers.omniglot,
        ("alphabet", "character"),
        32,
        "Omniglot, handwritten characters, split by drawer",
        "MIT",
        "unpack images_background_small1.zip and images_background_small2.zip of github.com/brendenlake/omniglot "
        "(folder python) into omniglot/, or let download=True fetch images_background, which contains them",
        readers.OMNIGLOT_PLACES,
        ("Omniglot", {"background": True}),
    ),
    "cifar100": Source(
        readers.cifar100,
        ("superclass", "class"),
        32,
        "CIFAR-100",
        "research use; Krizhevsky 2009",
        "let download=True fetch it, or put class folders into cifar100/train and cifar100/test",
        ("cifar100", "cifar-100-python"),
        ("CIFAR100", {}),
    ),
    "cub50": Source(
        readers.cub50,
        ("order", "family", "genus", "species"),
        64,
        "CUB-50, the first 50 classes of CUB-200-2011 (not the 200-class benchmark)",
        "non-commercial research",
        "put CUB50/images/<class>/<file> and CUB50/labels.csv there (path, split, order, family, genus, species, "
        "box_x, box_y, box_w, box_h, width, height), made from CUB-200-2011",
        ("CUB50",),
    ),
    "pets": Source(
        readers.pets,
        ("species", "breed"),
        224,
        "Oxford-IIIT-Pet",
        "CC BY-SA 4.0",
        "let download=True fetch it, or unpack images.tar.gz and annotations.tar.gz into oxford-iiit-pet/",
        ("oxford-iiit-pet",),
        ("OxfordIIITPet", {}),
    ),
    "sop": Source(
        readers.sop,
        ("super", "product"),
        224,
        "Stanford Online Products in the paper's random split",
        "research use; Song et al. 2016",
        "unpack Stanford_Online_Products.zip (cvgl.stanford.edu/projects/lifted_struct) there",
        ("Stanford_Online_Products",),
    ),
    "imagenet": Source(
        taxonomies.imagenet,
        ("coarse", "class"),
        224,
        "ImageNet (ILSVRC 2012) with coarse classes from WordNet",
        "non-commercial research; terms of image-net.org",
        "get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz from image-net.org into "
        "imagenet/, where torchvision.datasets.ImageNet(folder, split) for the splits train and val sorts them into "
        "<split>/<wnid>/<file>; add coarse127.txt there, a line '<wnid> <coarse name>' for each class (the 127 of Huh "
        "et al., arXiv 1608.08614), or WordNet's wordnet.is_a.txt, from which similar ones, not the same, are derived",
        ("imagenet",),
    ),
    "inaturalist2017": Source(
        taxonomies.inaturalist2017,
        ("supercategory", "species"),
        224,
        "iNaturalist 2017, training and validation split of the competition",
        "non-commercial research and education; terms of github.com/visipedia/inat_comp",
        "let download=True fetch it (186 GB), or unpack train_val_images.tar.gz and train_val2017.zip of "
        "github.com/visipedia/inat_comp (folder 2017) into inaturalist2017/",
        ("inaturalist2017/train_val_images", "inaturalist2017/2017"),  # the latter is where torchvision puts it
        ("INaturalist", {"version": "2017"}),
        "inaturalist2017",
        ("https://ml-inat-competition-datasets.s3.amazonaws.com/2017/train_val2017.zip",),
    ),
    "inaturalist2018": _inaturalist(2018, "120 GB"),
    "inaturalist2019": _inaturalist(2019, "74 GB"),
    "flowers102": Source(
        fine_grained.flowers102,
        ("class",),
        224,
        "Oxford Flowers-102",
        "research use; Nilsback and Zisserman 2008",
        "let download=True fetch it, or put 102flowers.tgz (unpacked, as jpg/), imagelabels.mat and setid.mat of "
        "robots.ox.ac.uk/~vgg/data/flowers/102 into flowers-102/",
        ("flowers-102",),
        ("Flowers102", {}),
    ),
    "cars": Source(
        fine_grained.cars,
        ("model",),
        224,
        "Stanford Cars",
        "non-commercial research; Krause et al. 2013",
        "its home, ai.stanford.edu/~jkrause/cars, is gone, and github.com/pytorch/vision/issues/7545 says where copies "
        "are; put cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat into stanford_cars/",
        ("stanford_cars",),
    ),
    "food101": Source(
        fine_grained.food101,
        ("dish",),
        224,
        "Food-101",
        "research use; Bossard et al. 2014",
        "let download=True fetch it, or unpack food-101.tar.gz (data.vision.ee.ethz.ch/cvl/food-101.tar.gz) there",
        ("food-101",),
        ("Food101", {}),
    ),
    "cub200": Source(
        annotated.cub200,
        ("species",),
        224,
        "CUB-200-2011, birds of 200 species with boxes",
        "non-commercial research; Wah et al. 2011",
        "unpack CUB_200_2011.tgz (vision.caltech.edu/datasets/cub_200_2011) there",
        ("CUB_200_2011",),
    ),
    "aircraft": Source(
        annotated.aircraft,
        annotated.AIRCRAFT_LEVELS,
        224,
        "FGVC-Aircraft, with boxes",
        "non-commercial research; Maji et al. 2013",
        "let download=True fetch it, or unpack fgvc-aircraft-2013b.tar.gz (robots.ox.ac.uk/~vgg/data/fgvc-aircraft) "
        "there",
        ("fgvc-aircraft-2013b",),
        ("FGVCAircraft", {}),
    ),
    "dogs": Source(
        annotated.dogs,
        ("breed",),
        224,
        "Stanford Dogs, with boxes",
        "research use, images as in ImageNet; Khosla et al. 2011",
        "unpack images.tar and annotation.tar (vision.stanford.edu/aditya86/ImageNetDogs) into stanford_dogs/ and "
        "lists.tar into stanford_dogs/lists/",
        ("stanford_dogs",),
    ),
    "celeba": Source(
        annotated.celeba,
        (),  # 40 attributes, named in its table
        224,
        "CelebA, aligned faces with 40 binary attributes, each a level of its own",
        "non-commercial research; Liu et al. 2015",
        "let download=True fetch it, or unpack img_align_celeba.zip (mmlab.ie.cuhk.edu.hk/projects/CelebA.html) into "
        "celeba/ and put list_attr_celeba.txt and list_eval_partition.txt beside it",
        ("celeba",),
        ("CelebA", {}),
    ),
    "folder": Source(
        readers.folder,
        (),
        64,
        "a catalogue of your own",
        "yours",
        "name it with the option path: a folder or zip archive with train/<level1>/<level2>/file and test/...",
    ),
}
