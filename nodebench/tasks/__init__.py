"""Tasks, found by entry point; each is data, models, a loss and metrics."""

from nodebench.tasks.contract import Batch, DatasetInfo, Experiment, ModelInfo, Options, Setup, Task
from nodebench.tasks.registry import calling_task, data_card_of, dataset_of, find_task, source_of_task, tasks

__all__ = [
    "Batch",
    "DatasetInfo",
    "Experiment",
    "ModelInfo",
    "Options",
    "Setup",
    "Task",
    "calling_task",
    "data_card_of",
    "dataset_of",
    "find_task",
    "source_of_task",
    "tasks",
]
