"""The exponential moving average of a network."""

import torch
from torch import nn


@torch.no_grad()
def ema_update_(target: nn.Module, online: nn.Module, decay: float) -> None:
    """target <- decay target + (1 - decay) online, parameters and buffers, in place (Grafit, Section 3.1; BYOL).

    decay: in [0, 1]; 0 copies, 1 changes nothing. Buffers of integers, such as the count of batches of a batch
    normalization, are copied. ValueError where the two networks differ in names or shapes.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay is {decay}, must be in [0, 1]")
    ours, theirs = target.state_dict(), online.state_dict()
    for name in sorted(ours.keys() ^ theirs.keys()):
        raise ValueError(
            f"'{name}' is in one of the two networks only: the target must be a copy of the online network"
        )
    for name, value in ours.items():
        if value.shape != theirs[name].shape:
            raise ValueError(
                f"'{name}' has shape {tuple(value.shape)} in the target, {tuple(theirs[name].shape)} online"
            )
    if decay == 1:
        return
    floats = [name for name, value in ours.items() if value.is_floating_point()]
    # one call for all tensors: a hundred small ones would cost more than their sums
    torch._foreach_lerp_([ours[n] for n in floats], [theirs[n] for n in floats], 1 - decay)
    for name in ours.keys() - set(floats):
        ours[name].copy_(theirs[name])
