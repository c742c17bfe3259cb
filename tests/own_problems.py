"""Examples of user-defined problems."""

import torch
from torch import Tensor, nn

import nodebench

TIMES = torch.linspace(0.0, 2.0, 9)
RATE = 0.5


class Decay(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(RATE))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.rate * y


class Pair(nn.Module):
    """Two independent states."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = Decay()

    def forward(self, t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        first, second = y
        return self.decay(t, first), -2 * second


class Block(nn.Module):
    """A classifier with two ODE blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Decay(), Decay()
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        ends = torch.tensor([0.0, 1.0])
        hidden = nodebench.odeint_adjoint(self.first, x, ends, method="euler", rtol=0.1)[-1]
        return self.out(nodebench.odeint(self.second, hidden, ends)[-1])


class StiffBlocks(Block):
    """``Block`` with a second block that needs smaller steps."""

    def __init__(self) -> None:
        super().__init__()
        self.second.rate.data.fill_(50.0)


class OneBlock(nn.Module):
    """A classifier with one ODE block."""

    def __init__(self) -> None:
        super().__init__()
        self.only, self.out = Decay(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(nodebench.odeint(self.only, x, torch.tensor([0.0, 1.0]))[-1])


def frozen() -> nn.Module:
    return Decay().requires_grad_(requires_grad=False)


def examples() -> tuple[Tensor, Tensor]:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


def loader() -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*examples()), batch_size=16)


def cross_entropy(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(x), labels)


def accuracy(model: nn.Module) -> dict[str, float]:
    x, labels = examples()
    return {"accuracy": float((model(x.to(next(model.parameters()).dtype)).argmax(1) == labels).float().mean())}


def adam(parameters) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 0.05)


decay = nodebench.Problem(field=Decay, y0=torch.ones(4, 2), t=TIMES)
backwards = nodebench.Problem(field=Decay, y0=torch.ones(4, 2), t=TIMES.flip(0))
function = nodebench.Problem(field=lambda t, y: -RATE * y, y0=torch.ones(4, 2), t=TIMES)
frozen_field = nodebench.Problem(field=frozen, y0=torch.ones(4, 2), t=TIMES)
pair = nodebench.Problem(
    field=Pair,
    y0=(torch.ones(4, 2), torch.ones(3)),
    t=TIMES,
    loss=lambda states: states[0][-1].mean() + states[1][-1].mean(),
)
own_times = nodebench.Problem(
    field=Decay, y0=torch.ones(2, 3), t=torch.tensor([[0.0, 0.5, 1.0], [0.0, 1.0, 2.0]]), loss=lambda s: s[1:].mean()
)
drawn = nodebench.Problem(field=Decay, y0=lambda generator: torch.rand(4, 2, generator=generator), t=TIMES)
fitted = nodebench.Problem(
    field=Decay,
    data=[(torch.ones(4, 2), torch.full((4, 2), 0.25))],
    t=torch.tensor([0.0, 1.0]),
    loss=lambda states, target: (states[-1] - target).square().mean(),
    optimizer=adam,
    epochs=10,
    steps_per_epoch=20,  # repeats the only batch
    metrics=lambda model: {"rate": float(model.vector_field.rate)},
)
classifier = nodebench.Problem(
    model=Block, data=loader(), loss=cross_entropy, metrics=accuracy, optimizer=adam, epochs=10
)


def made() -> nodebench.Problem:
    return decay


no_problem = 3
wrong_shape = nodebench.Problem(field=lambda t, y: y[:1], y0=torch.ones(4, 2), t=TIMES)
raises = nodebench.Problem(field=lambda t, y: y @ torch.ones(3, 3), y0=torch.ones(4, 2), t=TIMES)
complex_states = nodebench.Problem(field=lambda t, y: y, y0=torch.ones(4, dtype=torch.complex64), t=TIMES)
integers = nodebench.Problem(field=lambda t, y: y, y0=torch.ones(4, dtype=torch.long), t=TIMES)
vector_loss = nodebench.Problem(field=Decay, y0=torch.ones(4, 2), t=TIMES, loss=lambda states: states[-1])
nothing_to_learn = nodebench.Problem(field=frozen, data=[torch.ones(4, 2)], t=TIMES)
dictionaries = nodebench.Problem(field=Decay, data=[({"x": 1}, torch.ones(2))], t=TIMES)
stiff_blocks = nodebench.Problem(model=StiffBlocks, data=loader(), loss=cross_entropy)
one_block = nodebench.Problem(model=OneBlock, data=loader(), loss=cross_entropy)
