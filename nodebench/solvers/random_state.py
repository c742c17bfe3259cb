"""The state of torch's random number generators on the CPU and on one accelerator."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """A saved state of the random number generators."""

    cpu: Tensor
    accelerator: Tensor | None
    device: torch.device

    @classmethod
    def take(cls, device: torch.device) -> "RandomState":
        """Save the current states of the generators of the CPU and of ``device``."""
        if device.type == "cuda":
            return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device), device)
        return cls(torch.get_rng_state(), torch.mps.get_rng_state() if device.type == "mps" else None, device)

    def restore(self) -> None:
        """Set the generators back to this state."""
        torch.set_rng_state(self.cpu)
        if self.accelerator is not None:
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(self.accelerator, self.device)
            else:
                torch.mps.set_rng_state(self.accelerator)
