"""Convolutions in JAX, written so that XLA on a CPU runs them well inside a solver's loop.

XLA's CPU backend runs a convolution inside a loop many times slower than outside of one, and every solve of diffrax is
a loop: https://github.com/jax-ml/jax/issues/12868. The issue suggests channels-last layout; this speeds up the
convolution itself, but not its gradient with respect to the weights. A matrix product is fast for both.
``benchmarks/convolutions.py`` compares the three.
"""

from collections.abc import Sequence
from itertools import product
from math import prod

import jax
import jax.numpy as jnp
from jax import Array, lax

Sizes = Sequence[int]


def convolution(x: Array, weight: Array, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Array:
    """Cross-correlate as torch does, in the form that is fastest on this backend.

    Args:
        x: ``(N, C, *S)``, with one to three spatial axes.
        weight: ``(O, C / groups, *K)``.
        stride: stride along each spatial axis.
        padding: number of zeros on both sides of each spatial axis.
        dilation: distance between kernel elements along each spatial axis.
        groups: number of channel groups that are convolved separately.

    Returns:
        Array: ``(N, O, *S')``.
    """
    if groups == 1 and jax.default_backend() == "cpu":
        return matrix_product(x, weight, stride, padding, dilation)
    pads = [(p, p) for p in padding]
    return lax.conv_general_dilated(x, weight, stride, pads, rhs_dilation=dilation, feature_group_count=groups)


def matrix_product(x: Array, weight: Array, stride: Sizes, padding: Sizes, dilation: Sizes) -> Array:
    """Convolve by one matrix product of shifted input copies with the kernel; arguments as in ``convolution``."""
    batch, outputs, kernel = x.shape[0], weight.shape[0], weight.shape[2:]
    padded = jnp.pad(jnp.moveaxis(x, 1, -1), [(0, 0), *((p, p) for p in padding), (0, 0)])
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    sizes = [(n - r) // s + 1 for n, r, s in zip(padded.shape[1:-1], reach, stride, strict=True)]

    def shifted(place: tuple[int, ...]) -> Array:
        ends = [p + (n - 1) * s + 1 for p, n, s in zip(place, sizes, stride, strict=True)]
        return padded[(slice(None), *map(slice, place, ends, stride))]

    places = product(*(range(0, r, d) for r, d in zip(reach, dilation, strict=True)))
    rows = jnp.concatenate([shifted(place) for place in places], -1).reshape(batch * prod(sizes), -1)
    out = rows @ jnp.moveaxis(weight, (0, 1), (-1, -2)).reshape(-1, outputs)
    return jnp.moveaxis(out.reshape(batch, *sizes, outputs), -1, 1)
