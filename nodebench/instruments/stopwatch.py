"""Wall time of training steps, split into parts."""

import time
from typing import Any

import numpy as np
import torch

PARTS = ("data", "forward", "backward", "optimiser")


def synchronise(device: torch.device) -> None:
    """Wait until the accelerator has finished all queued work; do nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Stopwatch:
    """Times each part of each step; the summary excludes the first ``warm_up`` steps.

    A step begins with ``start``; each ``mark`` ends the part that it names. Accelerators are
    synchronised at each mark, so that their work is assigned to the right part.

    Args:
        device: the device whose work is timed.
        warm_up: number of first steps to exclude, which include allocation, kernel selection and caching.
    """

    def __init__(self, device: torch.device, warm_up: int = 2) -> None:
        self._device = device
        self._synchronised = device.type != "cpu"
        self._warm_up = warm_up
        self._left_out = set(range(warm_up))
        self._steps: list[dict[str, float]] = []
        self._last = 0.0

    def start(self) -> None:
        """Begin a step."""
        if self._synchronised:
            synchronise(self._device)
        self._steps.append({})
        self._last = time.perf_counter()

    def mark(self, part: str) -> None:
        """End a part of the step and store its seconds."""
        if self._synchronised:
            synchronise(self._device)
        now = time.perf_counter()
        self._steps[-1][part] = now - self._last
        self._last = now

    def resume(self) -> None:
        """Exclude the time since the last mark from the step."""
        if self._synchronised:
            synchronise(self._device)
        self._last = time.perf_counter()

    @property
    def last_step(self) -> float:
        """Seconds of the latest step."""
        return sum(self._steps[-1].values())

    def seconds_of(self, steps: int) -> float:
        """Return the total seconds of the latest ``steps`` steps."""
        return sum((sum(step.values()) for step in self._steps[-steps:]), 0.0) if steps else 0.0

    def state(self) -> dict[str, Any]:
        """Return the seconds of each step, by part, and the indices of the steps that the summary excludes."""
        return {"steps": list(self._steps), "left_out": sorted(self._left_out)}

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Load the steps that another process has timed; the next ``warm_up`` steps are excluded again.

        Args:
            state: the result of ``state`` in that process.
        """
        self._steps = list(state["steps"])
        timed = len(self._steps)
        self._left_out = {*state["left_out"], *range(timed, timed + self._warm_up)}

    def _kept(self) -> list[dict[str, float]]:
        return [step for i, step in enumerate(self._steps) if i not in self._left_out]

    def means(self) -> dict[str, float]:
        """Return the mean seconds of a step and of each of its parts after the warm-up; empty if no step is left."""
        kept = self._kept()
        if not kept:
            return {}
        parts = {part: sum(step.get(part, 0.0) for step in kept) / len(kept) for part in PARTS if part in kept[0]}
        return {"step_seconds": sum(parts.values()), **{f"{part}_seconds": mean for part, mean in parts.items()}}

    def summary(self) -> dict[str, float | int | None]:
        """Return the median and quartiles of the step, the median of each part, and the number of timed steps.

        These times are None if no step is left after the warm-up.
        """
        kept = self._kept()
        totals = [sum(step.values()) for step in kept]
        q1, median, q3 = np.quantile(totals, [0.25, 0.5, 0.75]).tolist() if totals else (None, None, None)
        parts: dict[str, float | int | None] = {
            f"{part}_seconds": float(np.median(times)) if (times := [s[part] for s in kept if part in s]) else None
            for part in PARTS
        }
        return {
            "step_seconds": median,
            "step_seconds_q1": q1,
            "step_seconds_q3": q3,
            **parts,
            "first_step_seconds": sum(self._steps[0].values()) if self._warm_up and self._steps else None,
            "timed_steps": len(kept),
        }
