"""Base, Fine, Indi, Base-Indi and Base-Indi_eff: heads without bias, losses as Eqs. 1 to 5 say."""

import pytest
import torch
import torch.nn.functional as F
from tiny import ready

from fglib.errors import ConfigError
from fglib.methods import Batch, Task, build_method


def batch_of(train, config, rows=(0, 3, 5, 9)):
    index = torch.tensor(rows)
    images = train.images[index].float() / 255
    fine = train.labels("small")[index] if config.use_fine else None
    return Batch(images[None], train.labels("big")[index], index, fine)


PATTERNS = ("base", "fine", "indi", "base_indi", "base_indi_eff")


def cross_entropy_slowly(features, weight, target, allowed=None):
    total = 0.0
    for i, f in enumerate(features):
        ids = range(len(weight)) if allowed is None else [j for j in range(len(weight)) if allowed[i][j]]
        scores = [float(f @ weight[j]) for j in ids]
        total += torch.logsumexp(torch.tensor(scores), 0).item() - float(f @ weight[target[i]])
    return total / len(features)


@pytest.mark.parametrize("name", PATTERNS)
def test_loss_is_the_papers_equation(name):
    method, train, config = ready(name)
    method.eval()
    batch = batch_of(train, config)
    f = method.trunk(batch.views[0]).detach()
    same = [[train.labels("big")[j] == c for j in range(len(train))] for c in batch.coarse]
    heads = {n: p.detach() for n, p in method.named_parameters() if n.endswith("head.weight")}
    coarse = lambda: cross_entropy_slowly(f, heads["super_head.weight"], batch.coarse)  # noqa: E731
    instance = lambda a=None: cross_entropy_slowly(f, heads["instance_head.weight"], batch.index, a)  # noqa: E731
    expected = {
        "base": coarse,
        "fine": lambda: cross_entropy_slowly(f, heads["fine_head.weight"], batch.fine),
        "indi": instance,
        "base_indi": lambda: coarse() + instance(),
        "base_indi_eff": lambda: coarse() + instance(same),
    }[name]()
    assert method.loss(batch)["total"].item() == pytest.approx(expected, rel=1e-5)


def test_lambda_weighs_the_instance_term_and_a_wrong_option_is_named():
    method, train, config = ready("base_indi")
    method.eval()
    parts = method.loss(batch_of(train, config))
    method.lambda_i = 0.25
    weighed = method.loss(batch_of(train, config))["total"]
    assert weighed.item() == pytest.approx((parts["superclass"] + 0.25 * parts["instance"]).item(), rel=1e-6)
    import dataclasses

    from fglib.config import MethodConfig

    task = Task.of(train, "big", None)
    for bad in (MethodConfig("base_indi", {"lambda": 1.0}), MethodConfig("base_ind")):
        with pytest.raises(ConfigError, match="lambda|did you mean 'base_indi'"):
            build_method(dataclasses.replace(config, method=bad), task)


@pytest.mark.parametrize("name", PATTERNS)
def test_heads_have_no_bias_and_embed_is_the_pooled_trunk(name):
    method, train, config = ready(name)
    assert not [n for n, _ in method.named_parameters() if "head" in n and n.endswith("bias")]
    images = torch.rand(2, 3, 16, 16)
    method.eval()
    assert torch.equal(method.embed(images), method.trunk(images))
    assert hasattr(method, "logits") == (name in ("base", "base_indi", "base_indi_eff"))


def test_weight_decay_moves_the_rows_of_images_outside_the_batch():
    method, train, config = ready("indi")
    before = method.instance_head.weight.detach().clone()
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, weight_decay=0.5)
    loss = F.cross_entropy(torch.zeros(1, 2, requires_grad=True), torch.tensor([0])) * 0
    (loss + method.loss(batch_of(train, config))["total"] * 0).backward()
    optimizer.step()
    assert torch.allclose(method.instance_head.weight, before * (1 - 0.1 * 0.5), atol=1e-7)


def test_a_level_with_one_class_is_an_error_that_names_it():
    from fglib.data.made.patches import nested_patches

    train, _ = nested_patches(16, classes=1, children=4, images=8)
    with pytest.raises(ConfigError, match="level 'big' has a single class"):
        Task.of(train, "big", None)
