"""The memory bank: filled at once, updated by halves, kept with the weights, strict about what it is given."""

import pytest
import torch

from fglib.models import memory
from fglib.models.memory import MemoryBank

SIZE, DIM = 7, 3


@pytest.fixture
def embeddings():
    return torch.randn(SIZE, DIM, generator=torch.Generator().manual_seed(0)) * 5


def unit(vector):
    return vector / sum(x * x for x in vector.tolist()) ** 0.5


def filled(embeddings, **options):
    bank = MemoryBank(SIZE, DIM, **options)
    bank.fill(embeddings)
    return bank


def test_a_new_bank_is_empty_and_fill_writes_every_slot_at_unit_length(embeddings):
    bank = MemoryBank(SIZE, DIM)
    assert bank.vectors.dtype == torch.float32 and torch.equal(bank.vectors, torch.zeros(SIZE, DIM))
    place = bank.vectors.data_ptr()
    bank.fill(embeddings.bfloat16())
    expected = torch.stack([unit(row) for row in embeddings.bfloat16().float()])
    torch.testing.assert_close(bank.vectors, expected)
    assert bank.vectors.data_ptr() == place  # the buffer stays the one that a checkpoint knows


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("renormalize", [True, False])
def test_an_update_is_the_average_of_slot_and_direction(embeddings, renormalize, momentum):
    bank = filled(embeddings, renormalize=renormalize, momentum=momentum)
    slots, index = [unit(row) for row in embeddings], [5, 0, 3]
    for step in range(3):
        new = torch.randn(3, DIM, generator=torch.Generator().manual_seed(step)) * 10 ** (step - 1)
        for slot, g in zip(index, new):
            average = momentum * slots[slot] + (1 - momentum) * unit(g)
            slots[slot] = unit(average) if renormalize else average
        bank.update(torch.tensor(index), new)
        torch.testing.assert_close(bank.vectors, torch.stack(slots))
    lengths = bank.vectors[index].norm(dim=1)
    assert torch.allclose(lengths, torch.ones(3)) == (renormalize or momentum == 0)


def test_the_default_is_half_and_half_at_unit_length():
    for options, length in (({}, 1.0), ({"renormalize": False}, 0.5**0.5)):
        bank = filled(torch.tensor([[1.0, 0.0, 0.0]]).expand(SIZE, DIM), **options)
        bank.update(torch.tensor([2]), torch.tensor([[0.0, 4.0, 0.0]]))
        torch.testing.assert_close(bank.vectors[2], torch.tensor([0.5**0.5, 0.5**0.5, 0.0]) * length)


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.uint8])
def test_slots_outside_the_batch_keep_every_bit(embeddings, kind):
    bank = filled(embeddings)
    before = bank.vectors.clone()
    bank.update(torch.tensor([6, 1], dtype=kind), torch.randn(2, DIM).half())
    assert torch.equal(bank.vectors[[0, 2, 3, 4, 5]], before[[0, 2, 3, 4, 5]])
    assert (bank.vectors[[1, 6]] != before[[1, 6]]).any(1).all()


def test_what_is_written_carries_no_gradient(embeddings):
    bank = filled(embeddings.requires_grad_())
    bank.update(torch.tensor([0]), embeddings[:1] * 2)
    assert not bank.vectors.requires_grad and not list(bank.parameters())


def test_the_bank_is_part_of_the_state(embeddings):
    state = torch.nn.Sequential(filled(embeddings)).state_dict()
    assert list(state) == ["0.vectors"]
    other = torch.nn.Sequential(MemoryBank(SIZE, DIM))
    other.load_state_dict(state)
    assert torch.equal(other[0].vectors, filled(embeddings).vectors)


@pytest.mark.parametrize(
    ("size", "dim", "momentum", "words"),
    [
        (0, 3, 0.5, "size is 0 and dim 3"),
        (3, 0, 0.5, "size is 3 and dim 0"),
        (3, 3, 1.0, r"momentum is 1\.0"),
        (3, 3, -0.1, r"momentum is -0\.1"),
        (3, 3, float("nan"), "momentum is nan"),
    ],
)
def test_banks_that_cannot_be(size, dim, momentum, words):
    with pytest.raises(ValueError, match=words):
        MemoryBank(size, dim, momentum=momentum)


@pytest.mark.parametrize("shape", [(SIZE - 1, DIM), (SIZE, DIM + 1), (SIZE,)])
def test_a_filling_of_another_shape(shape):
    with pytest.raises(ValueError) as error:
        MemoryBank(SIZE, DIM).fill(torch.ones(shape))
    assert str(shape) in str(error.value) and "(7, 3)" in str(error.value)


@pytest.mark.parametrize(
    ("index", "new", "words"),
    [
        (torch.tensor([0, 1]), torch.ones(3, DIM), ["(3, 3)", "(2,)", "(7, 3)"]),
        (torch.tensor([0, 1]), torch.ones(2, DIM - 1), ["(2, 2)", "(2,)", "(7, 3)"]),
        (torch.tensor([[0], [1]]), torch.ones(2, DIM), ["(2, 1)", "(2, 3)"]),
        (torch.tensor(0), torch.ones(1, DIM), ["()", "(1, 3)"]),
        (torch.tensor([0.0, 1.0]), torch.ones(2, DIM), ["index", "float32", "integers"]),
        (torch.tensor([True, False]), torch.ones(2, DIM), ["index", "bool", "integers"]),
        (torch.tensor([2, 2]), torch.ones(2, DIM), ["repeats 2", "one row per image"]),
        (torch.tensor([2, 7]), torch.ones(2, DIM), ["2 to 7", "the 7 rows of the bank"]),
        (torch.tensor([-1, 2]), torch.ones(2, DIM), ["-1 to 2", "the 7 rows of the bank"]),
        (torch.tensor([1, 2]), torch.zeros(2, DIM), ["row 0 of embeddings", "zero length"]),
        (torch.tensor([1, 2]), torch.tensor([[1.0, 2, 3], [1, torch.nan, 0]]), ["row 1 of embeddings", "not finite"]),
        (torch.tensor([1, 2]), torch.tensor([[1.0, torch.inf, 3], [1, 2, 0]]), ["row 0 of embeddings", "not finite"]),
        (torch.tensor([1, 2]), torch.tensor([[1.0, 1e30, 3], [1, 2, 0]]), ["row 0 of embeddings", "too long"]),
        (torch.tensor([1]), [[1.0, 2.0, 3.0]], ["embeddings", "list", "must be a tensor"]),
        ([1], torch.ones(1, DIM), ["index", "list", "must be a tensor"]),
    ],
)
def test_an_update_that_does_not_fit_writes_nothing(embeddings, index, new, words):
    bank = filled(embeddings)
    before = bank.vectors.clone()
    with pytest.raises(ValueError) as error:
        bank.update(index, new)
    assert all(word in str(error.value) for word in words)
    assert torch.equal(bank.vectors, before)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])
def test_a_filling_that_is_not_finite_writes_nothing(embeddings, bad):
    bank = filled(embeddings)
    before = bank.vectors.clone()
    embeddings[4, 1] = bad
    with pytest.raises(ValueError, match="row 4 of embeddings is not finite"):
        bank.fill(embeddings)
    assert torch.equal(bank.vectors, before)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])
def test_elsewhere_what_is_not_finite_shows(embeddings, bad, monkeypatch):
    """On an accelerator nothing is checked, which would wait: the slot becomes NaN, and so does every later loss."""
    for name in ("check_finite", "check_slots"):
        monkeypatch.setattr(memory, name, lambda *arguments: None)
    bank, new = filled(embeddings), torch.ones(2, DIM)
    new[1, 0] = bad
    bank.update(torch.tensor([2, 5]), new)
    assert bank.vectors[5].isnan().any() and bank.vectors[[0, 1, 2, 3, 4, 6]].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_bank_that_was_cast_keeps_its_type(embeddings, dtype):
    bank = filled(embeddings).to(dtype)
    bank.fill(embeddings)
    bank.update(torch.tensor([1]), embeddings[:1])
    assert bank.vectors.dtype == dtype
    average = unit(unit(embeddings[1]) + unit(embeddings[0]))
    torch.testing.assert_close(bank.vectors[1].float(), average, rtol=0, atol=0.01)


def test_opposite_directions_have_no_average():
    bank = MemoryBank(1, 2)
    bank.fill(torch.tensor([[1.0, 0.0]]))
    with pytest.raises(ValueError, match="row 0 of updates has zero length"):
        bank.update(torch.tensor([0]), torch.tensor([[-1.0, 0.0]]))
    assert torch.equal(bank.vectors, torch.tensor([[1.0, 0.0]]))
