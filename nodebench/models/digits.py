"""Classifiers of 28 × 28 digits: the ODE-Net of Chen et al. and the networks it is compared with.

Layer for layer as in torchdiffeq's ``examples/odenet_mnist.py`` (downsampling ``conv``), which follows
section 3 of arXiv 1806.07366. Parameters: stem and head 132,874; ODE block 75,392; residual block 73,984.
"""

import math

import torch
from torch import Tensor, nn

from nodebench.models.augmented import Augment
from nodebench.models.ode_block import OdeBlock
from nodebench.solvers import Solve

WIDTH = 64
EXTRA = 16  # additional channels of the augmented networks


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, channels), channels)


def _conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=1, padding=1, bias=False)


class ResidualBlock(nn.Module):
    """``x + conv(relu(norm(conv(relu(norm(x))))))``; pre-activation, no bias."""

    def __init__(self, channels: int = WIDTH) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(channels), _conv3x3(channels, channels)
        self.norm2, self.conv2 = _norm(channels), _conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape."""
        out = self.conv1(self.norm1(x).relu_())
        out = self.conv2(self.norm2(out).relu_())
        return x + out


class ConvField(nn.Module):
    """The vector field of the ODE-Net: two convolutions with time as an additional input channel."""

    def __init__(self, channels: int = WIDTH) -> None:
        super().__init__()
        self.norm1 = _norm(channels)
        self.conv1 = nn.Conv2d(channels + 1, channels, 3, padding=1)
        self.norm2 = _norm(channels)
        self.conv2 = nn.Conv2d(channels + 1, channels, 3, padding=1)
        self.norm3 = _norm(channels)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return dx/dt, of the shape ``(N, C, H, W)`` of ``x``."""
        time = torch.ones_like(x[:, :1]) * t
        out = self.conv1(torch.cat([time, self.norm1(x).relu_()], 1))
        out = self.conv2(torch.cat([time, self.norm2(out).relu_()], 1))
        return self.norm3(out)


class ReluField(nn.Module):
    """The vector field of one 3 × 3 convolution of normal weights, and a ReLU.

    Source: Gholami et al. 2019, arXiv 1902.10298, Figure 1, where a block of such a field is solved backwards.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = _conv3x3(1, 1)
        nn.init.normal_(self.conv.weight)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return dx/dt, of the shape ``(N, 1, H, W)`` of ``x``."""
        return self.conv(x).relu()


def _stem() -> list[nn.Module]:
    return [
        nn.Conv2d(1, WIDTH, 3, 1),
        _norm(WIDTH),
        nn.ReLU(inplace=True),
        nn.Conv2d(WIDTH, WIDTH, 4, 2, 1),
        _norm(WIDTH),
        nn.ReLU(inplace=True),
        nn.Conv2d(WIDTH, WIDTH, 4, 2, 1),
    ]


def _head(channels: int = WIDTH) -> list[nn.Module]:
    return [
        _norm(channels),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(channels, 10),
    ]


def ode_net(solve: Solve) -> nn.Sequential:
    """One ODE block on [0, 1]: 208,266 parameters. Logits ``(N, 10)`` from images ``(N, 1, 28, 28)``."""
    # The stem is initialised first, so that with the same seed all these networks have the same stem.
    stem = _stem()
    return nn.Sequential(*stem, OdeBlock(ConvField(), solve), *_head())


def augmented_ode_net(solve: Solve, extra: int = EXTRA) -> nn.Sequential:
    """The ODE-Net with ``extra`` channels that start at 0 before its block: 250,346 parameters with 16.

    Source: Dupont et al. 2019, section 4.3, where the channels are added to the images and there is no stem.
    """
    stem, channels = _stem(), WIDTH + extra
    return nn.Sequential(*stem, Augment(extra), OdeBlock(ConvField(channels), solve), *_head(channels))


def augmented_res_net(blocks: int, extra: int = EXTRA) -> nn.Sequential:
    """``blocks`` residual blocks after ``extra`` channels that start at 0: 826,186 parameters with six and 16."""
    stem, channels = _stem(), WIDTH + extra
    return nn.Sequential(*stem, Augment(extra), *(ResidualBlock(channels) for _ in range(blocks)), *_head(channels))


def res_net(blocks: int) -> nn.Sequential:
    """``blocks`` residual blocks: 576,778 parameters with six, 206,858 with one, 132,874 with none."""
    stem = _stem()
    return nn.Sequential(*stem, *(ResidualBlock() for _ in range(blocks)), *_head())


def relu_field_net(solve: Solve) -> nn.Sequential:
    """An ODE block of a ``ReluField`` on the images, with 9 parameters that are trained.

    The 7,850 parameters of the linear head stay as they are drawn, so that the gradient is that of the field alone.
    """
    return nn.Sequential(OdeBlock(ReluField(), solve), nn.Flatten(), nn.Linear(784, 10).requires_grad_(False))


def tied_res_net(blocks: int) -> nn.Sequential:
    """One residual block applied ``blocks`` times with shared weights: 206,858 parameters."""
    stem, block = _stem(), ResidualBlock()
    return nn.Sequential(*stem, *(block for _ in range(blocks)), *_head())


def mlp() -> nn.Sequential:
    """One hidden layer of 300 units, 238,510 parameters: the MLP of LeCun et al. 1998 in Chen et al., Table 1."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(inplace=True), nn.Linear(300, 10))
