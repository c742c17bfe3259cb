"""Classify images by an ODE block, as torchdiffeq's odenet_mnist.py does, on random images of 6 × 6."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--network", choices=["resnet", "odenet"], default="odenet")
parser.add_argument("--tol", type=float, default=1e-3)
parser.add_argument("--adjoint", type=eval, default=False, choices=[True, False])
parser.add_argument("--nepochs", type=int, default=160)
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--batch_size", type=int, default=8)
args = parser.parse_args()

if args.adjoint:
    from torchdiffeq import odeint_adjoint as odeint
else:
    from torchdiffeq import odeint


class TimedConvolution(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Conv2d(channels + 1, channels, 3, padding=1)

    def forward(self, t, x):
        return self.layer(torch.cat([torch.ones_like(x[:, :1]) * t, x], 1))


class Field(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.relu = nn.GroupNorm(1, channels), nn.ReLU(inplace=True)
        self.conv = TimedConvolution(channels)
        self.nfe = 0

    def forward(self, t, x):
        self.nfe += 1
        return self.conv(t, self.relu(self.norm(x)))


class Block(nn.Module):
    def __init__(self, field):
        super().__init__()
        self.odefunc = field
        self.integration_time = torch.tensor([0, 1]).float()

    def forward(self, x):
        self.integration_time = self.integration_time.type_as(x)
        return odeint(self.odefunc, x, self.integration_time, rtol=args.tol, atol=args.tol)[1]

    @property
    def nfe(self):
        return self.odefunc.nfe

    @nfe.setter
    def nfe(self, value):
        self.odefunc.nfe = value


def make_model():
    block = Block(Field(2)) if args.network == "odenet" else nn.Conv2d(2, 2, 3, padding=1)
    return nn.Sequential(nn.Conv2d(1, 2, 3), block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10))


def make_loader():
    random = torch.Generator().manual_seed(0)
    images, labels = torch.rand(32, 1, 6, 6, generator=random), torch.randint(10, (32,), generator=random)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=args.batch_size)


losses, forward, backward = [], [], []
if __name__ == "__main__":
    torch.manual_seed(0)
    model, criterion = make_model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    for _ in range(args.nepochs):
        for x, y in make_loader():
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            forward.append(model[1].nfe)
            model[1].nfe = 0
            loss.backward()
            backward.append(model[1].nfe)
            model[1].nfe = 0
            optimizer.step()
            losses.append(loss.item())
    nfe = sum(forward) + sum(backward)
