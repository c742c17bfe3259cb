"""Perturbed images: Gaussian noise, and steps along the sign of a loss's gradient."""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]  # loss summed over images

_STEPS, _STEP = 10, 1 / 5  # of PGD; the step size is relative to epsilon, as in the code of Yan et al. 2020


def with_noise(images: Tensor, sigma: float) -> Tensor:
    """Add Gaussian noise to images in [0, 1] and clamp the result to [0, 1].

    The seed is fixed: images of one shape always get the same noise, multiplied by ``sigma``.

    Source: Yan et al. 2020, arXiv 1910.05513, with ``sigma`` of 50, 75 and 100 in 255.
    """
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + sigma * noise.to(images)).clamp(0, 1)


def fast_gradient_sign(loss: Loss, images: Tensor, epsilon: float) -> Tensor:
    """Move each pixel by ``epsilon`` along the sign of the gradient of a loss (FGSM).

    Source: Goodfellow, Shlens and Szegedy 2015, arXiv 1412.6572.

    Args:
        loss: loss summed over images, so that each image is attacked independently.
        images: images with values in [0, 1].
        epsilon: the size of the step.
    """
    return (images + epsilon * _gradient(loss, images).sign()).clamp(0, 1)


def projected_gradient(loss: Loss, images: Tensor, epsilon: float) -> Tensor:
    """Take ten steps of ``epsilon / 5`` along the sign of the gradient, within ``epsilon`` of the image (PGD).

    If PGD causes fewer errors than the single step of FGSM, the model masks its gradients.

    Source: Madry et al. 2018, arXiv 1706.06083; the steps are those of Yan et al. 2020.
    """
    moved = images
    for _ in range(_STEPS):
        moved = moved + _STEP * epsilon * _gradient(loss, moved).sign()
        moved = torch.minimum(torch.maximum(moved, images - epsilon), images + epsilon).clamp(0, 1)
    return moved


def _gradient(loss: Loss, images: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    return gradient
