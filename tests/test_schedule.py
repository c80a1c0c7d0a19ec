"""Learning-rate schedules at their corners."""

import pytest

from fglib.config import TrainConfig
from fglib.schedule import learning_rate


def config(**changes):
    return TrainConfig(**({"epochs": 200, "batch_size": 2, "lr": 0.1} | changes))


def test_step_divides_by_five_at_the_milestones():
    c = config(schedule="step", milestones=(60, 120, 160), gamma=0.2)
    rates = [learning_rate(c, e) for e in (0, 59.99, 60, 119.9, 120, 160, 199.9)]
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.0008, 0.0008])


def test_cosine_onecycle_and_constant():
    assert learning_rate(config(schedule="cosine"), 100) == pytest.approx(0.05)
    assert learning_rate(config(schedule="cosine"), 199.999) == pytest.approx(0, abs=1e-9)
    one = config(schedule="onecycle")
    assert [learning_rate(one, e) for e in (0, 30, 60, 130, 200)] == pytest.approx([0, 0.05, 0.1, 0.05, 0])
    assert learning_rate(config(schedule="constant"), 150) == 0.1


def test_warmup_is_a_ramp_in_front_of_any_schedule():
    c = config(schedule="constant", warmup_epochs=5.0)
    assert [learning_rate(c, e) for e in (0, 2.5, 5, 6)] == pytest.approx([0, 0.05, 0.1, 0.1])
