"""What the fork server imports once, so that no trial has to."""

import torch._dynamo  # optimisers import it at their first use, which takes seconds

from nodebench.instruments.environment import software
from nodebench.run import worker
from nodebench.solvers import adapters
from nodebench.tasks import tasks

tasks()
adapters()
software()

__all__ = ["torch", "worker"]
