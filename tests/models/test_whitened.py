"""The whitened network: what its first layer does to patches, what is trained, its size."""

import torch

from fglib.models.whitened import NOISE, WhitenedTrunk


def images(n=40, size=32):
    """Smooth random images: neighbouring pixels and channels are correlated, as in photographs."""
    coarse = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").clamp(0, 1)


def test_the_first_layer_whitens_the_patches_it_was_set_from():
    trunk, x = WhitenedTrunk(), images()
    trunk.prepare(x)
    conv = trunk.body.stem[0]
    scores = torch.nn.functional.conv2d((x - trunk.mean) / trunk.std, conv.weight, stride=2)  # disjoint patches
    scores = scores.permute(0, 2, 3, 1).flatten(0, 2).double()
    covariance = torch.cov(scores.T, correction=0)
    half = covariance[:12, :12]
    variances = half.diagonal()
    assert (half - variances.diag()).abs().max() < 1e-3  # uncorrelated
    # variance v becomes v / (v + noise): one where there is any variance to speak of
    assert variances.max() <= 1 + 1e-4 and variances[-1] > 0.99 and (variances > 0.5).sum() >= 6
    assert torch.allclose(scores[:, 12:], -scores[:, :12])
    assert NOISE > 0


def test_flat_images_give_finite_filters():
    trunk = WhitenedTrunk()
    trunk.prepare(torch.full((4, 3, 32, 32), 0.5))
    assert trunk.body.stem[0].weight.isfinite().all()


def test_filters_are_fixed_and_all_else_is_trained():
    trunk, x = WhitenedTrunk(), images(8)
    trunk.prepare(x)
    before = trunk.body.stem[0].weight.clone()
    optimizer = torch.optim.SGD(trunk.parameters(), lr=0.1, weight_decay=0.1)
    trunk.train()(x).square().mean().backward()
    optimizer.step()
    assert torch.equal(trunk.body.stem[0].weight, before)
    assert trunk.body.stem[0].bias.grad.abs().sum() > 0
    fixed = [name for name, p in trunk.named_parameters() if not p.requires_grad]
    assert fixed == ["body.stem.0.weight"]


def test_size_and_features():
    trunk = WhitenedTrunk()
    count = sum(p.numel() for p in trunk.parameters())
    assert 450_000 < count < 550_000 and trunk.dim == 128
    x = images(3)
    trunk.eval()
    assert trunk.maps(x).shape == (3, 128, 3, 3)
    assert torch.equal(trunk(x), trunk.maps(x).flatten(2).max(2).values)
    assert WhitenedTrunk((8, 16)).eval()(x).shape == (3, 16)
