"""What the fork server imports once, so that no trial has to."""

import warnings

import torch._dynamo  # optimisers import it at their first use, which takes seconds

from nodebench.instruments.environment import software
from nodebench.plugins import PluginWarning
from nodebench.solvers import adapters
from nodebench.tasks import tasks
from nodebench.trial import worker

with warnings.catch_warnings():  # the command itself reports plug-ins that cannot be used
    warnings.simplefilter("ignore", PluginWarning)
    tasks()
    adapters()
software()

__all__ = ["torch", "worker"]
