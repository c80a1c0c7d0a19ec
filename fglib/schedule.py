"""Learning-rate schedules as one function of the position in training."""

import math

from fglib.config import TrainConfig


def learning_rate(config: TrainConfig, epoch: float) -> float:
    """Learning rate at a (fractional) epoch in [0, config.epochs).

    constant; step: times gamma at each milestone; cosine: half a cosine down to zero; onecycle: straight up until
    the part `peak` of the training and straight down to zero. A warm-up multiplies by a ramp from zero.
    """
    position = epoch / config.epochs
    if config.schedule == "constant":
        factor = 1.0
    elif config.schedule == "step":
        factor = config.gamma ** sum(epoch >= m for m in config.milestones)
    elif config.schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * position))
    else:
        factor = min(position / config.peak, (1 - position) / (1 - config.peak))
    if epoch < config.warmup_epochs:
        factor *= epoch / config.warmup_epochs
    return config.lr * factor
