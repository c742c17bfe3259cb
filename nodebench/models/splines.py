"""The neural spline flow of the library zuko, which is imported only when the model is built."""

from torch import Tensor, nn

from nodebench.spec import SolveFailed, Status


class SplineFlow(nn.Module):
    """Three autoregressive transforms by monotone rational-quadratic splines on [-5, 5], and a standard normal base.

    Source: Durkan et al. 2019, arXiv 1906.04032; ``zuko.flows.NSF``.

    Args:
        dimension: dimension of the points.
        hidden: units of each of the two hidden layers of a transform's network.

    Raises:
        SolveFailed: zuko is not installed.
    """

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        try:
            from zuko.flows import NSF
        except ImportError:
            why = "the model nsf needs the library zuko: pip install 'nodebench[flows]'"
            raise SolveFailed(Status.UNSUPPORTED, why) from None
        self.flow = NSF(dimension, transforms=3, hidden_features=(hidden, hidden))

    def forward(self, points: Tensor, noise: Tensor) -> Tensor:
        """Return the log-density ``(B,)`` of points ``(B, D)``; ``noise`` is not used."""
        found: Tensor = self.flow().log_prob(points)
        return found
