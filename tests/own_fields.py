"""Examples of user-defined vector fields; each docstring gives the special property.

Tests pass them to the task ``field`` as ``own_fields:NAME``.
"""

import torch
from torch import nn


class _Net(nn.Module):
    """State 8: a tanh network."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, t, y):
        return self.b(torch.tanh(self.a(y)))


class Plain(_Net):
    """No special property."""


class ComplexBuffer(nn.Module):
    """State 16. A real state and a complex buffer: advection in Fourier space."""

    def __init__(self):
        super().__init__()
        self.register_buffer("ik", 1j * torch.arange(9).to(torch.cfloat))

    def forward(self, t, y):
        return -3 * torch.fft.irfft(torch.fft.rfft(y) * self.ik, n=16)


class ComplexWeight(nn.Module):
    """State 16. A complex parameter, with a gradient in both parts."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.complex(0.1 * torch.ones(9), torch.arange(9.0)))

    def forward(self, t, y):
        return -torch.fft.irfft(torch.fft.rfft(y) * self.w, n=16)


class PlainConstant(_Net):
    """A constant tensor that is no buffer."""

    def __init__(self):
        super().__init__()
        self.mix = torch.eye(8) * 0.5

    def forward(self, t, y):
        return super().forward(t, y) @ self.mix


class NestedConstants(_Net):
    """Constant tensors in a dictionary of lists."""

    def __init__(self):
        super().__init__()
        self.tables = {"mix": [torch.eye(8) * 0.5]}

    def forward(self, t, y):
        return super().forward(t, y) @ self.tables["mix"][0]


_SCALE = torch.full((8, 8), 0.1)


class GlobalConstant(_Net):
    """A global constant tensor, which a copy of the field does not include."""

    def forward(self, t, y):
        return super().forward(t, y) @ _SCALE


class KeepsActivation(_Net):
    """Keeps its last activation, as for a regulariser."""

    def forward(self, t, y):
        self.last = torch.tanh(self.a(y))
        return self.b(self.last)


class OldWeightNorm(nn.Module):
    """The weight is a plain attribute that a hook computes at each call."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.utils.weight_norm(nn.Linear(8, 8))

    def forward(self, t, y):
        return torch.tanh(self.a(y))


class NonLeaf(nn.Module):
    """A matrix that is computed once, in ``__init__``, from a parameter."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(8, 8))
        self.A = self.w - self.w.T

    def forward(self, t, y):
        return y @ self.A


class OpenFile(_Net):
    """Holds an open file, which cannot be copied."""

    def __init__(self):
        super().__init__()
        self.log = open(__file__)  # noqa: SIM115


class OneState(nn.Module):
    """State 2. Written for one state, without a batch."""

    def forward(self, t, y):
        x, v = y
        return torch.stack([v, -torch.sin(x)])


class PerSample(_Net):
    """Holds a condition for each sample of a batch of 32."""

    def __init__(self):
        super().__init__()
        self.register_buffer("condition", torch.randn(32, 8))

    def forward(self, t, y):
        return super().forward(t, y + self.condition)


class AssertsBatch(_Net):
    """Refuses a batch of one by an assertion."""

    def forward(self, t, y):
        assert y.shape[0] > 1, "a batch"
        return super().forward(t, y)


class Normed(_Net):
    """Batch normalisation, which changes buffers in training mode and refuses a batch of one."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def forward(self, t, y):
        return self.norm(super().forward(t, y))


class Dropout(nn.Module):
    """Random in training mode."""

    def __init__(self):
        super().__init__()
        self.a, self.d, self.b = nn.Linear(8, 32), nn.Dropout(0.5), nn.Linear(32, 8)

    def forward(self, t, y):
        return self.b(self.d(torch.tanh(self.a(y))))


class Counting(_Net):
    """Counts its calls and returns another value at each."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        return super().forward(t, y) * (1 + 0.1 * self.calls)


class Lazy(nn.Module):
    """Its layer takes its shape from the first batch."""

    def __init__(self):
        super().__init__()
        self.a = nn.LazyLinear(8)

    def forward(self, t, y):
        return torch.tanh(self.a(y))


class Complex(_Net):
    """Returns a complex derivative of a real state."""

    def forward(self, t, y):
        return super().forward(t, y) * 1j


class Ends(_Net):
    """Ends the program at its first call."""

    def forward(self, t, y):
        raise SystemExit(3)


def scripted():
    """A TorchScript module."""
    return torch.jit.script(Plain())
