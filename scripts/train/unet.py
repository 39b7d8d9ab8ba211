"""The network of the slide models: small and quick on a CPU."""

import itertools
from collections.abc import Sequence

import common
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) with sums in place of concatenation (LinkNet).

    Input N x 3 x H x W in 0..1, H and W multiples of 16; output N x maps x H x W, logits.
    """

    def __init__(self, maps: int = 2, widths: Sequence[int] = (12, 24, 48, 80, 112)) -> None:
        super().__init__()
        self.down = nn.ModuleList([common.Block(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True)])
        self.narrow = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths)])
        self.up = nn.ModuleList([common.Block(a, a) for a in widths[:-1]])
        self.head = nn.Conv2d(widths[0], maps, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = 1.0 - image  # glass is 0, so that the zeros of padding are glass
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.narrow[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](x + skips[level])
        logits: torch.Tensor = self.head(x)
        return logits
