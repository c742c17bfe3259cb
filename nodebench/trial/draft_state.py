"""Convert the draft and the snapshots of a trial to the format of a checkpoint, and back."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nodebench.spec import FieldTrait, Reason
from nodebench.spec.trajectories import Snapshots, Trajectories
from nodebench.trial.draft import Draft
from nodebench.trial.training_state import State


def draft_state(draft: Draft) -> State:
    """Return the fields of a draft that are set during training; metrics and costs are set only at its end."""
    return {
        "history": draft.history,
        "reasons": {name: reason.model_dump(mode="json") for name, reason in draft.reasons.items()},
        "traits": {str(trait): observed for trait, observed in draft.traits.items()},
    }


def set_draft(draft: Draft, state: State) -> None:
    """Restore the fields that ``draft_state`` returned.

    Raises:
        Exception: the state is damaged.
    """
    draft.history = state["history"]
    draft.reasons = {name: Reason.model_validate(reason) for name, reason in state["reasons"].items()}
    draft.traits = {FieldTrait(trait): observed for trait, observed in state["traits"].items()}


def snapshots_state(snapshots: Snapshots) -> dict[int, State]:
    """Convert snapshots to dictionaries by epoch, with arrays as tensors."""
    return {
        epoch: {name: _stored(value) for name, value in vars(picture).items()} for epoch, picture in snapshots.items()
    }


def snapshots_of(state: dict[int, State]) -> Snapshots:
    """Convert the result of ``snapshots_state`` back to snapshots."""
    return {epoch: _picture(**stored) for epoch, stored in state.items()}


def _stored(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def _picture(**stored: Any) -> Trajectories:
    parts: dict[str, Any] = {
        name: value.numpy() if isinstance(value, Tensor) else value for name, value in stored.items()
    }
    return Trajectories(**parts)
