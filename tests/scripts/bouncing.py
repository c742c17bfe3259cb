"""Simulate a bouncing ball and differentiate the time of its last bounce, as torchdiffeq's bouncing_ball.py does."""

import argparse

import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint, odeint_event

parser = argparse.ArgumentParser()
parser.add_argument("nbounces", type=int, nargs="?", default=10)
parser.add_argument("--adjoint", action="store_true")
args = parser.parse_args()


class Ball(nn.Module):
    def __init__(self, adjoint=False):
        super().__init__()
        self.gravity, self.absorption = nn.Parameter(torch.tensor([9.8])), nn.Parameter(torch.tensor([0.2]))
        self.height, self.speed = nn.Parameter(torch.tensor([10.0])), nn.Parameter(torch.tensor([0.0]))
        self.t0 = nn.Parameter(torch.tensor([0.0]))
        self.odeint = odeint_adjoint if adjoint else odeint
        self.nfe = 0

    def forward(self, t, state):
        self.nfe += 1
        height, speed = state
        return speed, -self.gravity * torch.ones_like(height)

    def event_fn(self, t, state):
        return state[0]

    def bounces(self, count):
        t0, state, found = self.t0, (self.height, self.speed), []
        for _ in range(count):
            t0, states = odeint_event(
                self,
                state,
                t0,
                event_fn=self.event_fn,
                reverse_time=False,
                atol=1e-8,
                rtol=1e-8,
                odeint_interface=self.odeint,
            )
            height, speed = (part[-1] for part in states)
            state = height + 1e-7, -speed * (1 - self.absorption)
            found.append(t0)
        return found


losses = []
if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    ball = Ball(args.adjoint)
    times = ball.bounces(args.nbounces)
    nfe = ball.nfe
    times[-1].backward()
    losses += [float(one.detach()) for one in times]
    losses += [float(one.grad) for one in ball.parameters()]
    with torch.no_grad():
        path = odeint(ball, (ball.height, ball.speed), torch.linspace(0, float(times[0].detach()), 5), atol=1e-8)
    losses += path[0].flatten().tolist()
