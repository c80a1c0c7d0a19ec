"""The theory of "Representation Learning with Fine-grained Patterns", as things that can be computed.

Propositions 1 and 2 are constructions; Theorems 1 and 2 are measured on trained features. All in float64 and log
space: the bounds are far below the smallest float. n images, d dimensions, B super-classes, F fine classes.

Slips in the printed proofs: the end of A.1 means Eqn. 1 where it says Eqn. 3, and the last display of A.3 lost the
bar over the first w (the class mean).
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fglib.checks import shape

LOG10 = math.log(10)
CHUNK = 2**24  # logits held at once: 128 MB


def proposition_1(
    separation: float = 0.0, per_class: int = 40, spread: float = 0.25, seed: int = 0
) -> dict[str, float]:
    """Features that solve the super-class problem, and how well a linear classifier tells the fine classes apart.

    Two super-classes of two fine classes each, `per_class` points a class. The fine classes of a super-class have
    the same points, moved apart by `separation` along a direction that the super-class task does not use: at 0 they
    coincide, which nothing in Eq. 1 forbids. Returns fractions: super_accuracy, fine_accuracy (both of a logistic
    regression on the points themselves) and chance (within a super-class).
    """
    x, superclass, fine = proposition_1_points(separation, per_class, spread, seed)
    return {"super_accuracy": _linear_fit(x, superclass), "fine_accuracy": _linear_fit(x, fine), "chance": 0.5}


def proposition_1_points(
    separation: float = 0.0, per_class: int = 40, spread: float = 0.25, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The construction of `proposition_1`: points (n, 2), super-class (n,), fine class (n,)."""
    cloud = np.random.default_rng(seed).normal(scale=spread, size=(per_class, 2)).clip(-3 * spread, 3 * spread)
    points = np.concatenate([cloud + (x, side * separation) for x in (-2.0, 2.0) for side in (-0.5, 0.5)])
    fine = np.arange(4).repeat(per_class)
    return points, fine // 2, fine


def proposition_2(angle: float = 0.0) -> dict[str, float]:
    """XOR: every instance is separable, the fine classes are not (Fig. 4).

    Four unit vectors of two fine classes; `angle` in degrees turns one of them along the circle, away from XOR.
    Returns fractions: instance_accuracy of the linear head w_i = x_i, and fine_accuracy of the best linear
    classifier there is, found exactly.
    """
    x, fine = proposition_2_points(angle)
    return {
        "instance_accuracy": float(((x @ x.T).argmax(1) == np.arange(len(x))).mean()),
        "fine_accuracy": best_linear_accuracy(x, fine),
    }


def proposition_2_points(angle: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The construction of `proposition_2`: points (4, 2) on the unit circle and their fine class (4,)."""
    degrees = np.radians([45, 225 + angle, 135, 315])
    return np.stack([np.cos(degrees), np.sin(degrees)], 1), np.array([0, 0, 1, 1])


def best_linear_accuracy(x: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of the best half-plane on points x (n, d) with labels 0 and 1 (n,), by trying all; n up to 12."""
    from itertools import product

    from scipy.optimize import linprog

    if len(x) > 12:
        raise ValueError(f"{len(x)} points are too many to try all labellings; at most 12")
    best = 0.0
    for guess in product((-1.0, 1.0), repeat=len(x)):
        agree = float(((np.array(guess) > 0) == labels).mean())
        if agree > best:
            # separable if some (w, b) has guess_i (w . x_i + b) >= 1 for all i
            rows = -np.array(guess)[:, None] * np.c_[x, np.ones(len(x))]
            found = linprog(np.zeros(x.shape[1] + 1), A_ub=rows, b_ub=-np.ones(len(x)), bounds=(None, None))
            best = agree if found.success else best
    return best


def theorem_1(
    features: Tensor, instance_weight: Tensor, super_weight: Tensor, coarse: Tensor, fine: Tensor
) -> dict[str, float]:
    """Theorem 1 on trained features: alpha, beta, c, h and the bound against the measured E[Pr fine].

    features (n, d) of the training images, in the order of instance_weight (n, d); super_weight (B, d); coarse (n,)
    and fine (n,) labels, every fine class inside one super-class. Constants are the tightest that the data allow:
    alpha and beta the smallest probabilities, a and b the smallest residuals, c the largest norm. `measured` is
    that of the proof's own classifier, the class means of W^I, and `holds` is 1 when it reaches the bound.

    The paper takes all fine classes to have z images. Where they do not, z is the smallest class before h, since the
    proof's sum over classes may be led by the smallest, and each image's own class inside h, whose mean is taken:
    with equal classes this is the printed bound, and with others the proof still goes through. `alpha_mean` and
    `beta_mean` are there for comparison only. Quantities that leave the range of floats come as log10. ValueError
    where the theorem says nothing: fewer than two super-classes or images, or shapes that do not fit.
    """
    return _theorem(features, instance_weight, super_weight, coarse, fine, within=False)


def theorem_2(
    features: Tensor, instance_weight: Tensor, super_weight: Tensor, coarse: Tensor, fine: Tensor
) -> dict[str, float]:
    """Theorem 2: as `theorem_1`, for the instance softmax within the super-class (Eq. 5).

    alpha and a are now of the images of the own super-class, which needs two images at least, and the bound uses
    alpha' = 1 / (1 / alpha + (1 - beta) c'' / beta) with c'' = M exp(2 c (...)), M the largest number of images of
    other super-classes.
    """
    return _theorem(features, instance_weight, super_weight, coarse, fine, within=True)


def _theorem(
    features: Tensor, instance_weight: Tensor, super_weight: Tensor, coarse: Tensor, fine: Tensor, within: bool
) -> dict[str, float]:
    _check(features, instance_weight, super_weight, coarse, fine, within)
    f, w_i, w_b = features.double(), instance_weight.double(), super_weight.double()
    n, c = len(f), max(float(m.norm(dim=1).max()) for m in (f, w_i, w_b))

    odds_i, rest_i = _instance_odds(f, w_i, coarse if within else torch.zeros_like(coarse))
    odds_b, rest_b = _odds(f @ w_b.T, coarse)
    alpha_odds, beta_odds, log_a, log_b = odds_i.min(), odds_b.min(), rest_i.min(), rest_b.min()
    out = {"alpha": alpha_odds.sigmoid(), "beta": beta_odds.sigmoid()}
    out |= {"alpha_mean": odds_i.sigmoid().mean(), "beta_mean": odds_b.sigmoid().mean(), "c": c}

    distance_b = _distance(c, log_b, beta_odds)
    if within:
        log_m = math.log(n - int(coarse.bincount()[coarse].min()))
        log_c2 = log_m + 2 * c * (_distance(c, log_a, alpha_odds) + distance_b)
        alpha_odds = -torch.logaddexp(-alpha_odds, log_c2 - beta_odds)  # 1 / alpha' - 1 is exp(-alpha_odds)
        out |= {"log10_alpha_prime": logsigmoid(alpha_odds) / LOG10, "log10_c2": log_c2 / LOG10}

    sizes = fine.bincount()[fine].double()  # z of each image's class
    exponent = 2 * c * (_distance(c, log_a, alpha_odds) + distance_b)
    log_h = (-exponent * (sizes - 1) / sizes).logsumexp(0) - math.log(n)
    log_bound = logsigmoid(alpha_odds) + sizes.min().log() + log_h

    # The proof's classifier: the mean instance weight of each fine class.
    classes, label, count = fine.unique(return_inverse=True, return_counts=True)
    w_f = f.new_zeros(len(classes), f.shape[1]).index_add_(0, label, w_i) / count[:, None]
    log_measured = logsigmoid(_odds(f @ w_f.T, label)[0]).logsumexp(0) - math.log(n)
    out |= {"z": sizes.min(), "log10_h": log_h / LOG10, "log10_bound": log_bound / LOG10}
    out |= {"measured": log_measured.exp(), "log10_measured": log_measured / LOG10}
    out |= {"chance": 1 / len(classes), "holds": log_measured >= log_bound}
    return {name: float(value) for name, value in out.items()}


def _check(
    features: Tensor, instance_weight: Tensor, super_weight: Tensor, coarse: Tensor, fine: Tensor, within: bool
) -> None:
    n = len(features)
    if instance_weight.shape != features.shape or coarse.shape != (n,) or fine.shape != (n,):
        raise ValueError(
            f"features {shape(features)}, instance_weight {shape(instance_weight)}, coarse {shape(coarse)} and fine "
            f"{shape(fine)} do not describe the same images"
        )
    if super_weight.shape[1:] != features.shape[1:] or len(super_weight) <= int(coarse.max()):
        given = f"features {shape(features)} and labels up to {int(coarse.max())}"
        raise ValueError(f"super_weight has shape {shape(super_weight)} for {given}")
    groups, counts = coarse.unique(return_counts=True)
    if n < 2 or len(groups) < 2:
        raise ValueError(f"{n} images of {len(groups)} super-classes: the theorems compare at least two of each")
    if within and counts.min() < 2:
        raise ValueError("a super-class has a single image: theorem 2 compares the images of a super-class")
    if len(torch.stack([fine, coarse], 1).unique(dim=0)) != len(fine.unique()):
        raise ValueError("a fine class lies in two super-classes: the theorems assume that each lies in one")


def _instance_odds(f: Tensor, w: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """`_odds` of every image among those of its group, some rows of the (n, n) logits at a time."""
    found = []
    for rows in torch.arange(len(f)).split(max(1, CHUNK // len(f))):
        logits = (f[rows] @ w.T).masked_fill(group[rows, None] != group, -torch.inf)
        found.append(_odds(logits, rows))
    return tuple(map(torch.cat, zip(*found)))


def _odds(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log odds (n,) of the target, log p / (1 - p), and log of the residual sum over all others (n,)."""
    rest = logits.scatter(1, target[:, None], -torch.inf).logsumexp(1)
    return logits.gather(1, target[:, None])[:, 0] - rest, rest


def _distance(c: float, log_rest: Tensor, log_odds: Tensor) -> float:
    """sqrt(2 c^2 - 2 log(r p / (1 - p))): how far a feature may lie from its class's weight.

    The logarithm is at most the smallest own logit, and that at most c^2: the root is real up to rounding.
    """
    return math.sqrt(max(0.0, 2 * c * c - 2 * float(log_rest + log_odds)))


def _linear_fit(x: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression

    return float(LogisticRegression(C=1e4, max_iter=2000).fit(x, labels).score(x, labels))
