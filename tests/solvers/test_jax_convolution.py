"""Convolutions in JAX: the same numbers as torch's, and no convolution left for XLA to run in a solver's loop."""

import jax
import pytest
import torch
from torch import nn

from nodebench.models.digits import ConvField
from nodebench.solvers.jax_field import Translation, to_jax

TIME = torch.tensor(0.3, dtype=torch.float64)


class Convolved(nn.Module):
    """A convolution as a field; what it gives is cut or padded to the shape of the state."""

    def __init__(self, layer: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = layer
        out = layer(torch.ones(shape)).flatten(1).shape[1]
        self.back = nn.Linear(out, torch.ones(shape).flatten(1).shape[1])

    def forward(self, t, y):
        return self.back(self.layer(y).flatten(1)).reshape(y.shape)


LAYERS = {
    "3 × 3": (nn.Conv2d(3, 4, 3, padding=1), (2, 3, 6, 5)),
    "without bias": (nn.Conv2d(3, 4, 3, padding=1, bias=False), (2, 3, 6, 5)),
    "stride": (nn.Conv2d(3, 4, (2, 3), stride=(2, 3), padding=(0, 1)), (2, 3, 7, 8)),
    "dilation": (nn.Conv2d(3, 4, 3, dilation=(2, 1), padding=2), (2, 3, 6, 5)),
    "1 × 1": (nn.Conv2d(3, 4, 1), (2, 3, 4, 4)),
    "groups": (nn.Conv2d(4, 4, 3, padding=1, groups=2), (2, 4, 5, 5)),
    "one axis": (nn.Conv1d(3, 2, 5, stride=2), (2, 3, 9)),
    "three axes": (nn.Conv3d(2, 3, 2, padding=1), (1, 2, 3, 4, 3)),
}


LONG = {"without bias", "stride", "1 × 1", "three axes"}  # each takes a second to compile


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in LAYERS]
)
def test_a_convolution_and_its_gradient_are_those_of_torch(name):
    layer, shape = LAYERS[name]
    torch.manual_seed(0)
    field, y = Convolved(layer, shape).double(), torch.randn(shape, dtype=torch.float64, requires_grad=True)
    translation = Translation(field, TIME, y.detach())
    tensors = translation.weights(field)
    out = field(TIME, y)
    cotangent = torch.randn_like(out)
    expected = torch.autograd.grad(out, [*tensors, y], cotangent)

    @jax.jit
    def both_directions(weights, y, cotangent):
        out, back = jax.vjp(lambda w, y: translation.function(w, to_jax(TIME), y), weights, y)
        return out, back(cotangent)

    found, (weights, state) = both_directions([to_jax(t) for t in tensors], to_jax(y), to_jax(cotangent))
    torch.testing.assert_close(torch.from_numpy(jax.device_get(found).copy()), out.detach(), rtol=1e-12, atol=1e-12)
    for one, exact in zip([*weights, state], expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(jax.device_get(one).copy()), exact, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other backends run convolutions well as they are")
def test_the_mnist_block_has_no_convolution_left_forwards_or_backwards():
    field, y = ConvField(8), torch.randn(2, 8, 5, 5)
    translation = Translation(field, TIME.float(), y)
    weights = [to_jax(tensor) for tensor in translation.weights(field)]

    def both_directions(weights, y):
        out, back = jax.vjp(lambda w, y: translation.function(w, to_jax(TIME.float()), y), weights, y)
        return back(out)

    assert "convolution" not in jax.jit(both_directions).lower(weights, to_jax(y)).as_text()
