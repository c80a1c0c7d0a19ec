"""The diversification block: class maps without their strongest places (Sun et al., "Subtle Differences", 3.1).

With M_c the map of class c, and a draw for every image and class:

    Eqs. 1, 2    the peaks of M_c, all locations equal to its maximum, are suppressed together with probability p_peak
    Eqs. 3, 4    every G x G patch of M_c is suppressed with probability p_patch
    Eq. 5        but for the peaks inside of it, which only their own draw suppresses
    Eq. 7        M'_c = alpha M_c where suppressed, M_c elsewhere

As printed, alpha multiplies: where an activation is negative, suppression raises it. The paper gives no value for
p_peak, p_patch and G.

Sizes: B images, C classes, maps of H x W, patches of G x G.
"""

import torch
from torch import Tensor, nn

from fglib.checks import check_maps, check_tensor, is_whole, misfit


def diversify(maps: Tensor, peak_draw: Tensor, patch_draw: Tensor, patch_size: int, alpha: float = 0.1) -> Tensor:
    """Class maps with drawn peaks and patches times alpha (Sun et al. Eqs. 1 to 7).

    maps: (B, C, H, W) floats. peak_draw: (B, C) bool, true where the peaks of a map are suppressed. patch_draw:
    (B, C, ceil(H/G), ceil(W/G)) bool, true where a patch is; patches at the lower and right edge are cut off, and one
    larger than the map is the whole map. patch_size: G, at least 1. alpha: in [0, 1]. Returns maps of the same shape
    and type. What is suppressed is constant for the gradient.

    Where all activations of a map are equal, all are peaks. A map with a NaN has no peak, and its NaN stay. ValueError
    for arguments that do not fit.
    """
    check_maps("maps", maps)
    _check_patch_size(patch_size)
    _check_fraction("alpha", alpha)
    grid = grid_size(maps, patch_size)
    for name, draw, needed in (("peak_draw", peak_draw, maps.shape[:2]), ("patch_draw", patch_draw, grid)):
        check_tensor(name, draw)
        if draw.shape != needed or draw.dtype != torch.bool:
            raise misfit(name, draw, f"{tuple(needed)} bool for patches of {patch_size}", maps=maps)
    with torch.no_grad():
        factor = _factor(maps, peak_draw, patch_draw, patch_size, alpha)
    return maps * factor


class DiversificationBlock(nn.Module):
    """Between class maps (B, C, H, W) and their global average pooling: `diversify` with random draws in training.

    p_peak, p_patch: probabilities, for each image and class, that its peaks are suppressed, and each of its patches.
    patch_size: G, pixels. alpha: the factor of suppressed activations. In evaluation it returns the maps
    themselves; nothing is rescaled. It has no parameters. ValueError for values out of range.
    """

    def __init__(self, p_peak: float = 0.5, p_patch: float = 0.5, patch_size: int = 3, alpha: float = 0.1) -> None:
        super().__init__()
        for name, value in (("p_peak", p_peak), ("p_patch", p_patch), ("alpha", alpha)):
            _check_fraction(name, value)
        _check_patch_size(patch_size)
        self.p_peak, self.p_patch, self.patch_size, self.alpha = p_peak, p_patch, patch_size, alpha

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training:
            return maps
        check_maps("maps", maps)
        peak_draw = torch.rand(maps.shape[:2], device=maps.device) < self.p_peak
        patch_draw = torch.rand(grid_size(maps, self.patch_size), device=maps.device) < self.p_patch
        return diversify(maps, peak_draw, patch_draw, self.patch_size, self.alpha)

    def extra_repr(self) -> str:
        return f"p_peak={self.p_peak}, p_patch={self.p_patch}, patch_size={self.patch_size}, alpha={self.alpha}"


def grid_size(maps: Tensor, patch_size: int) -> tuple[int, int, int, int]:
    """Shape (B, C, ceil(H/G), ceil(W/G)) of the draws of patches for maps (B, C, H, W)."""
    b, c, h, w = maps.shape
    return b, c, -(-h // patch_size), -(-w // patch_size)


def _factor(maps: Tensor, peak_draw: Tensor, patch_draw: Tensor, patch_size: int, alpha: float) -> Tensor:
    """What every activation is multiplied by, (B, C, H, W): alpha or 1."""
    height, width = maps.shape[2:]
    one, alpha = maps.new_ones(()), maps.new_tensor(alpha)
    at_patches = torch.lerp(one, alpha, patch_draw.flatten(2).to(maps.dtype))  # (B, C, patches)
    at_peaks = torch.lerp(one, alpha, peak_draw.to(maps.dtype))[:, :, None, None]
    # which patch (rows) a location (columns) lies in: every sum of the product has one term
    rows, columns = (torch.arange(side, device=maps.device) // patch_size for side in (height, width))
    patch_of = (rows[:, None] * patch_draw.shape[3] + columns).flatten()  # (HW,)
    inside = (torch.arange(at_patches.shape[2], device=maps.device)[:, None] == patch_of).to(maps.dtype)
    with torch.autocast(maps.device.type, enabled=False):
        factor = (at_patches @ inside).view(maps.shape)
    # masks are floats: on a CPU, a selection by booleans takes as long as four poolings
    is_peak = torch.eq(maps, maps.amax((2, 3), keepdim=True), out=torch.empty_like(maps))
    return factor.lerp_(at_peaks, is_peak)


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, must be in [0, 1]")


def _check_patch_size(patch_size: int) -> None:
    if not is_whole(patch_size):
        raise ValueError(f"patch_size is {patch_size!r}, must be an integer of at least 1")
