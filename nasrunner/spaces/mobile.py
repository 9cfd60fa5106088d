"""The block of mobile networks."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.space import Shape, Space
from nasrunner.spaces.basic import Init, initialize

# B = batch, C, D = input and output channels, H, W = height and width


@dataclass(frozen=True)
class InvertedResidual(Space):
    """MobileNetV2's block: widen by 1x1, filter each channel, narrow by 1x1 without activation.

    Sandler et al. 2018, arXiv:1801.04381, table 1; each convolution is batch-normalised. The
    input is added where it has the shape of the output.

    Args:
        filters: number of output channels.
        expansion: hidden channels for each input channel; t in the paper.
        kernel_size: height and width of the filters, odd.
        stride: of the filters; the output has ceil(size / stride) rows and columns.
        init: how the weights of its convolutions begin; see ``Init``.

    Differs from the paper: ReLU instead of ReLU6, as in NAS-Bench-Macro (Su et al. 2021,
    arXiv:2103.11922), and the 1x1 convolution stays where ``expansion`` is 1.
    """

    filters: Count
    expansion: Count
    kernel_size: Count
    stride: Count = 1
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("filters",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if len(in_shape) != 3:
            raise ValueError("it takes (channels, height, width)")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        channels, *size = in_shape
        height, width = (-(-length // self.stride) for length in size)
        block = _InvertedResidual(
            channels, self.filters, self.expansion, self.kernel_size, self.stride
        )
        for layer in block.layers:
            if isinstance(layer, nn.Conv2d):
                initialize(layer, self.init)
        return block, (self.filters, height, width)


class _InvertedResidual(nn.Module):
    def __init__(
        self, channels: int, filters: int, expansion: int, kernel_size: int, stride: int
    ) -> None:
        super().__init__()
        hidden = channels * expansion
        self.has_shortcut = stride == 1 and channels == filters
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(
                hidden, hidden, kernel_size, stride, kernel_size // 2, groups=hidden, bias=False
            ),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, filters, 1, bias=False),
            nn.BatchNorm2d(filters),
        )

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y_BDHW: torch.Tensor = self.layers(x_BCHW)
        return x_BCHW + y_BDHW if self.has_shortcut else y_BDHW
