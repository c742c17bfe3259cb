"""What is known of a trial during its training, and its pictures, in the form in which a checkpoint holds them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nodebench.run.draft import Draft
from nodebench.run.training_state import State
from nodebench.spec import FieldTrait, Reason
from nodebench.spec.trajectories import Film, Trajectories


def draft_state(draft: Draft) -> State:
    """Return what a draft holds before the end of the training; the metrics and costs follow at its end."""
    reasons = {
        name: why if isinstance(why, str) else why.model_dump(mode="json") for name, why in draft.reasons.items()
    }
    return {
        "history": draft.history,
        "reasons": reasons,
        "traits": {str(trait): observed for trait, observed in draft.traits.items()},
    }


def set_draft(draft: Draft, state: State) -> None:
    """Put back what ``draft_state`` returned.

    Raises:
        Exception: the state is damaged.
    """
    draft.history = state["history"]
    draft.reasons = {
        name: why if isinstance(why, str) else Reason.model_validate(why) for name, why in state["reasons"].items()
    }
    draft.traits = {FieldTrait(trait): observed for trait, observed in state["traits"].items()}


def film_state(film: Film) -> dict[int, State]:
    """Return pictures by epoch, their arrays as tensors."""
    return {epoch: {name: _stored(value) for name, value in vars(picture).items()} for epoch, picture in film.items()}


def film_of(state: dict[int, State]) -> Film:
    """Return the pictures that ``film_state`` stored."""
    return {epoch: _picture(**stored) for epoch, stored in state.items()}


def _stored(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def _picture(**stored: Any) -> Trajectories:
    parts: dict[str, Any] = {
        name: value.numpy() if isinstance(value, Tensor) else value for name, value in stored.items()
    }
    return Trajectories(**parts)
