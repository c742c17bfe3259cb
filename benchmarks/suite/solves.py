"""Times of a solve and of a training step at fixed weights, for each solver and gradient."""

import torch

from nodebench.models.regularised import Regularisation, RegularisedIntegrator
from suite.problems import FIELDS, GRADIENTS, SOLVERS, integrator, problem


class Solve:
    """A solve without gradient."""

    params = (list(FIELDS), list(SOLVERS))
    param_names = ("problem", "solver")
    timeout = 120.0
    version = "1"

    def setup(self, name: str, solver: str) -> None:
        """Load the weights and solve once, so that compilation is not timed."""
        torch.set_num_threads(1)
        self.one = problem(name)
        self.solve = integrator(solver, None, self.one.times)
        self.time_solve(name, solver)

    def time_solve(self, name: str, solver: str) -> None:
        """One solve."""
        with torch.no_grad():
            self.one.loss(self.solve)


class Step:
    """A training step, its forward pass and its backward pass."""

    params = (list(FIELDS), list(SOLVERS), list(GRADIENTS))
    param_names = ("problem", "solver", "gradient")
    timeout = 240.0
    version = "1"

    def setup(self, name: str, solver: str, gradient: str) -> None:
        """Load the weights and take a step, so that compilation is not timed."""
        torch.set_num_threads(1)
        self.one = problem(name)
        self.solve = integrator(solver, gradient, self.one.times)
        # A learning rate of zero: the optimiser does its work but does not change the weights.
        self.optimizer = torch.optim.SGD(self.one.field.parameters(), lr=0.0)
        self.time_step(name, solver, gradient)
        self.loss = self.one.loss(self.solve)

    def time_forward(self, name: str, solver: str, gradient: str) -> None:
        """The forward pass, including what it stores for the gradient."""
        self.one.loss(self.solve)

    def time_backward(self, name: str, solver: str, gradient: str) -> None:
        """The backward pass; ``setup`` runs the forward pass."""
        self.loss.backward()

    # A graph can be backpropagated only once: ``setup`` builds one for each sample.
    time_backward.number = 1
    time_backward.repeat = (5, 30, 10.0)
    time_backward.warmup_time = 0

    def time_step(self, name: str, solver: str, gradient: str) -> None:
        """Forward, backward, optimiser."""
        self.optimizer.zero_grad(set_to_none=True)
        self.one.loss(self.solve).backward()
        self.optimizer.step()


class Penalty:
    """A training step with a penalty on the field; "none" is the same step without one."""

    params = (["none", "kinetic", "jacobian", "taylor2", "taylor3"],)
    param_names = ("penalty",)
    timeout = 240.0
    version = "1"

    def setup(self, penalty: str) -> None:
        """Load the weights, and take a step."""
        torch.set_num_threads(1)
        self.one = problem("spiral")
        self.inner = integrator("rk4", "direct", self.one.times)
        weights = {} if penalty == "none" else {penalty: 0.1}
        self.solve = RegularisedIntegrator(self.inner, Regularisation(**weights))
        self.time_step(penalty)

    def time_step(self, penalty: str) -> None:
        """Forward and backward."""
        loss = self.one.loss(self.solve) + self.solve.take_penalty()
        loss.backward()

    def track_nfe(self, penalty: str) -> int:
        """Evaluations of the field in the forward pass, those of the penalty included."""
        before = self.inner.counter.forward
        self.time_step(penalty)
        return self.inner.counter.forward - before
