"""Within-class covariance normalization: its definition, scikit-learn's discriminant analysis, and its limits."""

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fglib.retrieval import WithinClassNormalization


def features(n=60, d=5, classes=4, seed=0):
    """Features with a spread of their own in every direction, and labels that move them."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    spread = torch.linspace(0.2, 4, d, dtype=torch.float64)
    centers = 3 * torch.randn(classes, d, generator=draw, dtype=torch.float64)
    return centers[labels] + spread * torch.randn(n, d, generator=draw, dtype=torch.float64) + 7, labels


def slowly(x, labels, power, shrinkage):
    """The definition, image by image."""
    n, d = x.shape
    within = np.zeros((d, d))
    for c in set(labels.tolist()):
        of_class = x[labels == c].numpy()
        for row in of_class:
            away = row - of_class.mean(0)
            within += np.outer(away, away) / n
    regular = within + shrinkage * np.trace(within) / d * np.eye(d)
    return (x.numpy() - x.numpy().mean(0)) @ fractional_matrix_power(regular, -power)


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 3.0])
def test_it_is_its_definition(power, shrinkage):
    x, labels = features()
    normalize = WithinClassNormalization.fit(x, labels, power, shrinkage)
    assert np.allclose(normalize(x).numpy(), slowly(x, labels, power, shrinkage), rtol=1e-9, atol=1e-9)


def test_whitened_it_is_the_metric_of_discriminant_analysis():
    x, labels = features()
    y = WithinClassNormalization.fit(x, labels, power=0.5, shrinkage=0.0)(x)
    lda = LinearDiscriminantAnalysis(solver="eigen", store_covariance=True).fit(x.numpy(), labels.numpy())
    centred = x.numpy() - x.numpy().mean(0)
    assert np.allclose((y @ y.T).numpy(), centred @ np.linalg.inv(lda.covariance_) @ centred.T)


def test_labels_only_name_the_classes():
    x, labels = features()
    one = WithinClassNormalization.fit(x, labels).matrix
    other = WithinClassNormalization.fit(x, torch.tensor([900, -3, 17, 0])[labels]).matrix
    assert torch.equal(one, other) or torch.allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda x, labels: (x[:, :1].expand(-1, 5) * 0 + 0.1, labels),  # constant features
        lambda x, labels: (x, torch.arange(len(x))),  # every class has one image
        lambda x, labels: (x[:1], labels[:1]),  # one image in all
    ],
)
def test_where_no_images_of_a_class_differ_only_the_mean_is_subtracted(make):
    x, labels = make(*features())
    y = WithinClassNormalization.fit(x, labels)(x)
    assert torch.allclose(y, x - x.mean(0))


def test_fewer_images_than_dimensions_need_shrinkage():
    x, labels = features(n=8, d=20, classes=2)
    y = WithinClassNormalization.fit(x, labels)(x)
    assert y.isfinite().all() and np.allclose(y.numpy(), slowly(x, labels, 0.25, 0.1))
    with pytest.raises(ValueError, match=r"features has shape \(8, 20\) and 2 classes.*shrinkage above 0"):
        WithinClassNormalization.fit(x, labels, shrinkage=0.0)


def test_classes_of_one_image_add_nothing_to_the_covariance():
    x, labels = features()
    more = torch.cat([x, x[:1] + 100]), torch.cat([labels, torch.tensor([99])])
    one, other = (WithinClassNormalization.fit(*data, power=0.5, shrinkage=0.0) for data in ((x, labels), more))
    assert torch.allclose(other.matrix, one.matrix * (len(more[0]) / len(x)) ** 0.5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_type_stays_and_the_work_is_done_in_float64(dtype):
    x, labels = features()
    normalize = WithinClassNormalization.fit(x.to(dtype), labels)
    assert normalize.matrix.dtype == torch.float64 and normalize(x.to(dtype)).dtype == dtype
    assert torch.equal(normalize(x.to(dtype)), normalize(x.to(dtype).double()).to(dtype))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(3)}, r"features has shape \(3,\)"),
        ({"features": torch.zeros(0, 2)}, r"features has shape \(0, 2\)"),
        ({"features": torch.zeros(4, 2, dtype=torch.long)}, "type torch.int64"),
        ({"features": torch.tensor([[1.0], [float("nan")], [1.0], [1.0]])}, "row 1 of features is not finite"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, r"labels has shape \(3,\)"),
        ({"labels": torch.zeros(4)}, "labels has type torch.float32"),
        ({"power": 0.6}, "power is 0.6"),
        ({"shrinkage": -1.0}, "shrinkage is -1.0"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    good = {"features": torch.eye(4, 2), "labels": torch.tensor([0, 0, 1, 1])}
    with pytest.raises(ValueError, match=message):
        WithinClassNormalization.fit(**good | change)


def test_features_of_another_size_are_named():
    normalize = WithinClassNormalization.fit(*features())
    with pytest.raises(ValueError, match=r"features has shape \(2, 3\).*must be \(m, 5\) floats"):
        normalize(torch.zeros(2, 3))
