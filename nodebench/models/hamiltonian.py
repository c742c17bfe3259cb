"""Hamiltonian fields: each evaluation computes the symplectic gradient of a learned energy by autograd."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nodebench.models.fields import MlpField


class HamiltonianField(nn.Module):
    """``q' = ∂H/∂p``, ``p' = −∂H/∂q`` with a network H of the state ``(q, p)``.

    Along the exact flow H is constant. Source: Greydanus et al. 2019, arXiv 1906.01563; trained through a solver as in
    Zhong et al. 2020 (Symplectic ODE-Net), arXiv 1909.12077.

    ``forward`` enables autograd, because solvers evaluate fields without it. If the caller has autograd enabled, the
    result is differentiable; the energy is then differentiated twice.

    Args:
        coordinates: number of coordinates q, and of momenta p.
        hidden: widths of the hidden layers, with tanh between them.
    """

    def __init__(self, coordinates: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self._coordinates = coordinates
        self.energy = MlpField((2 * coordinates, *hidden, 1)).net

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2 coordinates)`` of ``y``."""
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            state = y if y.requires_grad else y.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(state).sum(), state, create_graph=keep)
        by_q, by_p = slope[..., : self._coordinates], slope[..., self._coordinates :]
        return torch.cat([by_p, -by_q], -1)
