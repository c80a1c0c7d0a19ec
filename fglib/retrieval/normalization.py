"""Within-class covariance normalization: a metric from coarse labels alone, without training.

Hatch, Kajarekar and Stolcke, "Within-class covariance normalization for SVM-based speaker recognition" (2006). With mu
the mean of the training features and W their covariance within the classes,

    y = (W + s tr(W) / d I)^(-p) (x - mu)

shrinks the directions in which images of one class differ most. p = 1/2 whitens them, and is then the metric of linear
discriminant analysis; p = 1/4 goes half way.

Sizes: n training images, m images to normalize, d dimensions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fglib.checks import misfit
from fglib.retrieval.inputs import integers


@dataclass(frozen=True)
class WithinClassNormalization:
    """A fitted normalization: center it on `mean` (d,), multiply by `matrix` (d, d), symmetric; both float64."""

    mean: Tensor
    matrix: Tensor

    @classmethod
    def fit(
        cls, features: Tensor, labels: Tensor, power: float = 0.25, shrinkage: float = 0.1
    ) -> "WithinClassNormalization":
        """From features (n, d) of the training images and labels (n,), integers of any values.

        power: p, from 0 (only the mean is subtracted) to 1/2. shrinkage: s, the part of the mean variance that is added
        to every direction; needed where images are fewer than dimensions. Where no two images of a class differ, only
        the mean is subtracted. ValueError for shapes and numbers that do not fit, for values that are not finite, and
        without shrinkage for a covariance that has no inverse.
        """
        if features.ndim != 2 or len(features) == 0 or not features.is_floating_point():
            raise misfit("features", features, "(n, d) floats")
        labels = integers(labels, features, "labels", "features")
        if not 0 <= power <= 0.5:
            raise ValueError(f"power is {power!r}, must be from 0 to 0.5")
        if not 0 <= shrinkage < float("inf"):
            raise ValueError(f"shrinkage is {shrinkage!r}, must be at least 0")
        x = features.double()
        if not x.isfinite().all():
            raise ValueError(f"row {int((~x.isfinite()).any(1).nonzero()[0])} of features is not finite")
        n, d = x.shape
        classes, which = labels.unique(return_inverse=True)
        sums = x.new_zeros(len(classes), d).index_add_(0, which, x)
        apart = x - (sums / which.bincount().unsqueeze(1))[which]  # (n, d) from the mean of the class
        variances, directions = torch.linalg.eigh(apart.T @ apart / n)  # ascending
        variances = variances.clamp(min=0) + shrinkage * variances.mean().clamp(min=0)
        if variances[-1] <= (x.abs().max() * torch.finfo(x.dtype).eps).square():  # nothing but rounding
            return cls(x.mean(0), torch.eye(d, dtype=x.dtype, device=x.device))
        if power and variances[0] <= variances[-1] * d * torch.finfo(x.dtype).eps:
            raise ValueError(
                f"features has shape {tuple(features.shape)} and {len(classes)} classes: their covariance within the "
                "classes has no inverse; give a shrinkage above 0"
            )
        return cls(x.mean(0), directions * variances**-power @ directions.T)

    def __call__(self, features: Tensor) -> Tensor:
        """Features (m, d) in the normalized space, of their own float type; computed in float64."""
        if features.ndim != 2 or features.shape[1] != len(self.mean) or not features.is_floating_point():
            raise misfit("features", features, f"(m, {len(self.mean)}) floats")
        return ((features.double() - self.mean) @ self.matrix).to(features.dtype)
