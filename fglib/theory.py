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

LOG10 = math.log(10)


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
    points, superclass, fine = [], [], []
    for s, x in enumerate((-2.0, 2.0)):
        for f, side in enumerate((-0.5, 0.5)):
            points.append(cloud + (x, side * separation))
            superclass += [s] * per_class
            fine += [2 * s + f] * per_class
    return np.concatenate(points), np.array(superclass), np.array(fine)


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
    that of the proof's own classifier, the class means of W^I. With classes of unequal size z, the mean over images
    of z h(z) takes the place of z h, as the proof's last step allows. `alpha_mean` and `beta_mean` are there for
    comparison; the bound uses none of them. Quantities that leave the range of floats come as log10.
    """
    f, instance, superclass = _scores(features, instance_weight, super_weight, coarse, fine)
    log_alpha, log_a = _own_and_rest(instance, torch.arange(len(f)))
    return _bound(f, instance_weight, super_weight, superclass, coarse, fine, instance, log_alpha, log_a.min())


def theorem_2(
    features: Tensor, instance_weight: Tensor, super_weight: Tensor, coarse: Tensor, fine: Tensor
) -> dict[str, float]:
    """Theorem 2: as `theorem_1`, for the instance softmax within the super-class (Eq. 5).

    alpha is now the smallest probability among images of the own super-class, and the bound uses
    alpha' = 1 / (1 / alpha + (1 - beta) c'' / beta) with c'' = M exp(2 c (...)), M the largest number of images of
    other super-classes.
    """
    f, instance, superclass = _scores(features, instance_weight, super_weight, coarse, fine)
    within = instance.masked_fill(coarse[:, None] != coarse[None, :], -torch.inf)
    log_alpha, log_a = _own_and_rest(within, torch.arange(len(f)))
    others = len(f) - int(torch.bincount(coarse)[coarse].min())
    return _bound(f, instance_weight, super_weight, superclass, coarse, fine, instance, log_alpha, log_a.min(), others)


def _scores(
    features: Tensor, instance_weight: Tensor, super_weight: Tensor, coarse: Tensor, fine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Features (n, d), instance logits (n, n) and super-class logits (n, B) in float64, arguments checked."""
    n = len(features)
    if instance_weight.shape != features.shape or coarse.shape != (n,) or fine.shape != (n,):
        raise ValueError(
            f"features {tuple(features.shape)}, instance_weight {tuple(instance_weight.shape)}, coarse "
            f"{tuple(coarse.shape)} and fine {tuple(fine.shape)} do not describe the same images"
        )
    parents = torch.stack([fine, coarse], 1).unique(dim=0)
    if len(parents) != len(fine.unique()):
        raise ValueError("a fine class lies in two super-classes: the theorems assume that each lies in one")
    f = features.double()
    return f, f @ instance_weight.double().T, f @ super_weight.double().T


def _own_and_rest(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log probability (n,) of the target and log of the residual sum over all others (n,)."""
    rest = logits.scatter(1, target[:, None], -torch.inf).logsumexp(1)
    own = logits.gather(1, target[:, None])[:, 0]
    return own - torch.logaddexp(own, rest), rest


def _bound(
    f: Tensor,
    instance_weight: Tensor,
    super_weight: Tensor,
    superclass: Tensor,
    coarse: Tensor,
    fine: Tensor,
    instance: Tensor,
    log_alphas: Tensor,
    log_a: Tensor,
    others: int | None = None,
) -> dict[str, float]:
    log_betas, log_bs = _own_and_rest(superclass, coarse)
    log_alpha, log_beta, log_b = log_alphas.min(), log_betas.min(), log_bs.min()
    c = max(float(m.double().norm(dim=1).max()) for m in (f, instance_weight, super_weight))
    sizes = torch.bincount(fine)[fine].double()  # z of each image's class

    distance_b = _distance(c, log_b, log_beta)
    out = {"alpha": log_alpha.exp(), "beta": log_beta.exp(), "alpha_mean": log_alphas.exp().mean()}
    out |= {"beta_mean": log_betas.exp().mean(), "c": c, "z": sizes.mean()}
    if others is not None:
        log_c2 = math.log(max(others, 1)) + 2 * c * (_distance(c, log_a, log_alpha) + distance_b)
        log_alpha = -torch.logaddexp(-log_alpha, _log1mexp(log_beta) - log_beta + log_c2)
        out |= {"log10_alpha_prime": log_alpha / LOG10, "log10_c2": log_c2 / LOG10}
    exponent = 2 * c * (_distance(c, log_a, log_alpha) + distance_b)
    log_h = -exponent * (sizes - 1) / sizes
    log_bound = log_alpha + (sizes.log() + log_h).logsumexp(0) - math.log(len(f))

    # the proof's classifier: the mean instance weight of each fine class, whose logit is the mean instance logit
    members = torch.nn.functional.one_hot(fine, int(fine.max()) + 1).double()
    counts = members.sum(0)
    logits = (instance @ members / counts.clamp(min=1)).masked_fill(counts == 0, -torch.inf)
    log_fine, _ = _own_and_rest(logits, fine)
    log_measured = log_fine.logsumexp(0) - math.log(len(f))
    out |= {"measured": log_measured.exp(), "log10_measured": log_measured / LOG10}
    out |= {"log10_bound": log_bound / LOG10, "log10_h": log_h.mean() / LOG10, "chance": 1 / int((counts > 0).sum())}
    return {name: float(value) for name, value in out.items()}


def _distance(c: float, log_rest: Tensor, log_p: Tensor) -> float:
    """sqrt(2 c^2 - 2 log(r p / (1 - p))): how far a feature may lie from its class's weight.

    The logarithm is at most the smallest own logit, and that at most c^2: the root is real up to rounding.
    """
    log_odds = log_rest + log_p - _log1mexp(log_p)
    return math.sqrt(max(0.0, 2 * c * c - 2 * float(log_odds)))


def _log1mexp(log_p: Tensor) -> Tensor:
    """log(1 - p) from log p, exact for p near 0 and near 1."""
    return torch.where(log_p > -0.69, torch.log(-torch.expm1(log_p)), torch.log1p(-log_p.exp()))


def _linear_fit(x: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression

    return float(LogisticRegression(C=1e4, max_iter=2000).fit(x, labels).score(x, labels))
