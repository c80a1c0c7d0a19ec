"""Coarse2Fine, its parts and its competitors, as in Figs. 3 and 5 and Algorithm 1 of "Coarse2Fine: A two-stage training
method for fine-grained visual classification".

    image -> feature network -> features f (N channels) --+-> bilinear attention pooling -> first head
                             -> 1x1 convolution ----------+   attention A (M maps)
                                                          |
    mask * image <- up-sampler <- one of the maps <-------+   (their mean at inference)
         |
         +-> the same network, attention and pooling -> second head

Both heads classify at the training level; they are named after the two looks at an image, which the paper calls coarse
and fine.
Attention maps are the output of the 1x1 convolution, normalized over the batch and cut at zero: weights of places.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fglib.boxes import tight_boxes
from fglib.data.made.maps import INTERPOLATIONS
from fglib.errors import ConfigError, check_known, unknown
from fglib.losses import center_loss, overlap_penalty
from fglib.methods.protocol import Batch, Method, Task, take_weights
from fglib.models import (
    Trunk,
    Upsampler,
    bilinear_attention_pool,
    bilinear_upsample,
    orthogonal_rows_,
    update_centers_,
)
from fglib.models.views import mean_of_probabilities
from fglib.precision import at_least_float32

INFERENCE = ("first", "second", "average")
UPSAMPLERS = ("learned", "bilinear")


class BAP(Method):
    """Bilinear attention pooling under one head, with the center loss (Fig. 3, Eqs. 1 to 3).

    maps: M. center_weight: lambda. center_momentum: beta. orthogonal: start the attention weights with orthogonal rows.
    overlap: "l1" or "l2" adds the penalty on the dot products of the maps that the paper found not to help, times
    overlap_weight.
    """

    label = "attention pooling"
    colour = "#56B4E9"

    def __init__(
        self,
        trunk: Trunk,
        task: Task,
        maps: int = 8,
        center_weight: float = 1.0,
        center_momentum: float = 0.05,
        orthogonal: bool = True,
        overlap: str | None = None,
        overlap_weight: float = 1.0,
    ) -> None:
        super().__init__(trunk)
        if overlap not in (None, "l1", "l2"):
            raise unknown("overlap", overlap, ("l1", "l2"))
        if maps < 1:
            raise ConfigError(f"maps is {maps}, must be at least 1")
        self.center_weight, self.center_momentum = center_weight, center_momentum
        self.overlap, self.overlap_weight = overlap, overlap_weight
        self.attention = nn.Conv2d(trunk.dim, maps, 1, bias=False)
        # without it most maps of an untrained network are negative everywhere, and nothing is attended
        self.norm = nn.BatchNorm2d(maps, affine=False)
        if orthogonal:
            orthogonal_rows_(self.attention.weight)
        self.first_head = nn.Linear(maps * trunk.dim, task.num_coarse)
        self.register_buffer("centers", torch.zeros(task.num_coarse, maps, trunk.dim))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch.merged()
        parts, attention = self.attend(images)
        first = F.cross_entropy(self.scores(self.first_head, parts), labels)
        return self.total({"first": first}, [parts], labels, attention)

    def attend(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Bounded part features (B, M, N), float32 at least, and the attention maps (B, M, h, w) of images."""
        features = self.feature_maps(images)
        attention = self.norm(self.attention(features)).relu()
        return bounded(at_least_float32(bilinear_attention_pool(features, attention))), attention

    def scores(self, head: nn.Module, parts: Tensor) -> Tensor:
        """Scores (B, C) of part features (B, M, N), lengthened from 1 to what N features of variance one have: a linear
        layer learns at the pace of its input."""
        return head(parts.flatten(1) * parts.shape[2] ** 0.5)

    def total(
        self, terms: dict[str, Tensor], features: list[Tensor], labels: Tensor, attention: Tensor
    ) -> dict[str, Tensor]:
        """The losses of a batch: cross entropies, and the center loss of every set of part features (Eq. 4)."""
        self.seen = torch.cat(features).detach()  # for the centers, which move after the step
        self.seen_labels = labels.repeat(len(features))
        center = torch.stack([center_loss(f, labels, self.centers) for f in features]).sum()
        total = torch.stack(list(terms.values())).sum() + self.center_weight * center
        losses = {**terms, "center": center}
        if self.overlap is not None:
            losses["overlap"] = overlap_penalty(attention, self.overlap)
            total = total + self.overlap_weight * losses["overlap"]
        return {"total": total, **losses}

    def after_step(self, batch: Batch) -> None:
        update_centers_(self.centers, self.seen, self.seen_labels, self.center_momentum)

    def embed(self, images: Tensor) -> Tensor:
        """Part features (B, M N) of unit length."""
        return self.attend(images)[0].flatten(1)

    def logits(self, images: Tensor) -> Tensor:
        """Scores (B, C)."""
        return self.scores(self.first_head, self.attend(images)[0])

    def location_maps(self, images: Tensor) -> Tensor:
        """Mean of the attention maps (B, H, W), bilinear at the size of the images."""
        return at_size_of(images, self.attend(images)[1].mean(1, keepdim=True))[:, 0]


class WSDAN(BAP):
    """WS-DAN (Hu and Qi 2019): an image also comes cropped to where one of its maps is high, and with that place gone.

    crop, drop: thresholds of the drawn map, which has a maximum of one. At inference the crop is made of the mean of
    the maps, and the probabilities of the image and of its crop are averaged.
    """

    label = "WS-DAN"
    colour = "#009E73"
    needs_pixels = True

    def __init__(self, trunk: Trunk, task: Task, crop: float = 0.5, drop: float = 0.5, **bap_options) -> None:
        super().__init__(trunk, task, **bap_options)
        if not (0 < crop < 1 and 0 < drop < 1):
            raise ConfigError(f"crop is {crop} and drop {drop}: both must be between 0 and 1")
        self.crop, self.drop = crop, drop

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch.merged()
        parts, attention = self.attend(images)
        with torch.no_grad():  # both are new images; no gradient reaches the map they were made from
            mask = at_size_of(images, with_maximum_one(draw_map(attention)))
            cropped, dropped = crop_to(images, mask[:, 0] > self.crop), images * (mask <= self.drop)
        seen = {"first": parts, "crop": self.attend(cropped)[0], "drop": self.attend(dropped)[0]}
        losses = {name: F.cross_entropy(self.scores(self.first_head, f), labels) / 3 for name, f in seen.items()}
        return self.total(losses, [parts], labels, attention)

    def logits(self, images: Tensor) -> Tensor:
        """Logarithm (B, C) of the mean of the probabilities of an image and of its crop."""
        parts, attention = self.attend(images)
        mask = at_size_of(images, with_maximum_one(attention.mean(1, keepdim=True)))
        crops = crop_to(images, mask[:, 0] > self.crop)
        return mean_of_probabilities(torch.stack([self.scores(self.first_head, parts), super().logits(crops)]))


class Coarse2Fine(BAP):
    """The two-stage network of Algorithm 1.

    upsampler: "learned", the network that `start` names (a run of method "upsampler" of this width) or without `start`
    a fresh one, which learns on with everything else; or "bilinear". inference: which prediction counts, "first",
    "second" or their "average".
    """

    label = "Coarse2Fine"
    colour = "#D55E00"
    needs_pixels = True

    def __init__(
        self,
        trunk: Trunk,
        task: Task,
        upsampler: str = "learned",
        width: int = 16,
        inference: str = "average",
        **bap_options,
    ) -> None:
        super().__init__(trunk, task, **bap_options)
        check_known("upsampler", upsampler, UPSAMPLERS)
        check_known("inference", inference, INFERENCE)
        self.inference = inference
        self.second_head = nn.Linear(self.first_head.in_features, task.num_coarse)
        self.upsampler = Upsampler(width) if upsampler == "learned" else None
        if self.upsampler is not None and task.pretrained is not None:
            take_weights(self.upsampler, task, "upsampler")

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch.merged()  # B_i
        first_parts, attention = self.attend(images)  # CoarseNet
        mask = self.upsample(draw_map(attention), images)  # A_k; the others need not be up-sampled to be left out
        second_parts, _ = self.attend(mask * images)  # FineNet, which is the same network
        losses = {
            "first": F.cross_entropy(self.scores(self.first_head, first_parts), labels),  # L_1
            "second": F.cross_entropy(self.scores(self.second_head, second_parts), labels),  # L_2
        }
        return self.total(losses, [first_parts, second_parts], labels, attention)  # L_1 + L_2 + lambda L_3

    def upsample(self, maps: Tensor, images: Tensor) -> Tensor:
        """Masks (B, 1, H, W) from 0 to 1, the maximum of each 1, of maps (B, 1, h, w)."""
        size = images.shape[-2:]
        large = bilinear_upsample(maps, size) if self.upsampler is None else self.upsampler(maps, size).relu()
        return with_maximum_one(large)

    def heads(self, images: Tensor) -> dict[str, Tensor]:
        """Logarithms (B, C) of the probabilities in the three modes of inference, by name."""
        parts, attention = self.attend(images)
        mask = self.upsample(attention.mean(1, keepdim=True), images)
        first = self.scores(self.first_head, parts).log_softmax(1)
        second = self.scores(self.second_head, self.attend(mask * images)[0]).log_softmax(1)
        return {"first": first, "second": second, "average": mean_of_probabilities(torch.stack([first, second]))}

    def logits(self, images: Tensor) -> Tensor:
        """Logarithms (B, C) of the probabilities in the chosen mode."""
        return self.heads(images)[self.inference]

    def location_maps(self, images: Tensor) -> Tensor:
        """The mask (B, H, W) that highlights an image at inference: the mean of its maps through the up-sampler."""
        return self.upsample(self.attend(images)[1].mean(1, keepdim=True), images)[:, 0]


class Upsampling(Method):
    """Pre-training of the up-sampler: squared error on pairs of a map and its interpolation (reading 25).

    The training set is "interpolations": its images are the maps, the label names the interpolation that makes the
    target, `factor` times as large. width: of the up-sampler, which stands in the place of a trunk.
    """

    label = "upsampler"

    builds_trunk = False

    def __init__(self, trunk: None, task: Task, factor: int = 4, width: int = 16) -> None:
        super().__init__(Upsampler(width))
        self.factor = factor
        if task.num_coarse != len(INTERPOLATIONS):
            raise ConfigError(
                f"method 'upsampler' needs the data set 'interpolations' with its {len(INTERPOLATIONS)} ways to make a "
                f"target, not {task.num_coarse} classes"
            )

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        maps, kinds = batch.merged()
        return {"total": F.mse_loss(self.embed(maps), self.targets(maps, kinds))}

    def embed(self, images: Tensor) -> Tensor:
        """Up-sampled maps (B, 1, factor H, factor W) of maps, given as grey images (B, 3, H, W)."""
        return self.trunk(images[:, :1], self.size(images)).to(self.precision.dtype)

    def targets(self, images: Tensor, kinds: Tensor) -> Tensor:
        """What `embed` should give for interpolations (B,), indices into INTERPOLATIONS."""
        maps, out = images[:, :1], []
        for mode in INTERPOLATIONS:
            corners = {} if mode == "nearest" else {"align_corners": False}
            out.append(F.interpolate(maps, self.size(images), mode=mode, **corners))
        return torch.stack(out)[kinds, torch.arange(len(maps), device=maps.device)]

    def size(self, images: Tensor) -> tuple[int, int]:
        """Height and width of the targets."""
        return tuple(self.factor * side for side in images.shape[-2:])


def bounded(parts: Tensor) -> Tensor:
    """Signed square root of part features (B, M, N), then unit length of the whole matrix (reading 22)."""
    root = parts.sign() * (parts.abs() + 1e-6).sqrt()  # the small number keeps the slope at zero finite
    return F.normalize(root.flatten(1), dim=1).view_as(root)


def draw_map(attention: Tensor) -> Tensor:
    """One map (B, 1, h, w) of each image's (B, M, h, w), all equally likely."""
    rows = torch.arange(len(attention), device=attention.device)
    return attention[rows, torch.randint(attention.shape[1], (len(rows),), device=rows.device), None]


def with_maximum_one(maps: Tensor) -> Tensor:
    """Maps (B, 1, h, w), not negative, each divided by its maximum; one that is zero everywhere becomes one everywhere,
    so that an image which nothing attends is passed on whole."""
    peak = maps.amax((2, 3), keepdim=True)
    return torch.where(peak > 0, maps / torch.where(peak > 0, peak, 1), 1)


def at_size_of(images: Tensor, maps: Tensor) -> Tensor:
    """Maps (B, M, h, w) bilinear at the size of images (B, 3, H, W)."""
    return bilinear_upsample(maps, images.shape[-2:])


def crop_to(images: Tensor, region: Tensor) -> Tensor:
    """The box around a region (B, H, W) bool of each image (B, 3, H, W), enlarged to the size of the image."""
    from torchvision.ops import roi_align

    boxes = tight_boxes(region).to(images.dtype)
    numbered = torch.cat([torch.arange(len(boxes), device=boxes.device)[:, None].to(boxes.dtype), boxes], 1)
    return roi_align(images, numbered, images.shape[-2:], sampling_ratio=1, aligned=True)
