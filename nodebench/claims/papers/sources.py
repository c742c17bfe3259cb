"""The papers whose claims are tested, with the sentences that state them."""

from typing import Literal

from nodebench.claims.contract import Source


def chen2018(place: str, quote: str) -> Source:
    """Chen et al. 2018, "Neural Ordinary Differential Equations", in its later arXiv version."""
    return Source(paper="Chen et al. 2018", place=place, quote=quote, link="https://arxiv.org/abs/1806.07366")


def breakdown(place: str, quote: str = "") -> Source:
    """Alexandr Honchar 2019, "Neural ODEs: breakdown of another deep learning breakthrough", Towards Data Science."""
    return Source(
        paper="Honchar 2019 (the Breakdown article)",
        place=place,
        quote=quote,
        link="https://towardsdatascience.com/neural-odes-breakdown-of-another-deep-learning-breakthrough-3e78c7213795",
        read="reported",
    )


def _source(paper: str, place: str, quote: str, link: str, read: Literal["text", "abstract"] = "abstract") -> Source:
    return Source(paper=paper, place=place, quote=quote, link=link, read=read)


ANODE = _source(
    "Gholami et al. 2019 (ANODE)",
    "abstract",
    "it may be numerically unstable for ReLU/non-ReLU activations and general convolution operators",
    "https://arxiv.org/abs/1902.10298",
)
DISCRETISE = _source(
    "Onken and Ruthotto 2020",
    "abstract",
    "Disc-Opt reduced costs in six out of seven separate problems with training time reduction ranging from 39% to 97%",
    "https://arxiv.org/abs/2005.13420",
)
RESNET_AFTER_ALL = _source(
    "Ott et al. 2021 (ResNet After All?)",
    "abstract",
    "if training relies on a solver with overly coarse discretization, then testing with another solver of equal or "
    "smaller numerical error results in a sharp drop in accuracy",
    "https://arxiv.org/abs/2007.15386",
)
SEMINORM = _source(
    "Kidger et al. 2021",
    "abstract",
    "a median improvement of 40% fewer function evaluations",
    "https://arxiv.org/abs/2009.09457",
)
TORCHODE = _source(
    "Lienen and Günnemann 2022 (torchode)",
    "abstract",
    "up to 4.3 times faster per step than other ODE solvers and it is robust against within-batch interactions that "
    "lead other solvers to take up to 4 times as many steps",
    "https://arxiv.org/abs/2210.12375",
)
DIFFRAX = _source(
    "diffrax documentation",
    "Benchmarks",
    "torchdiffeq is ~1.3 to ~20 times slower depending on the problem",
    "https://docs.kidger.site/diffrax/further_details/benchmarks/",
    "text",
)
FFJORD = _source(
    "Grathwohl et al. 2019 (FFJORD)",
    "section 3.1",
    "we can use a fixed noise vector ϵ for the duration of each solve without introducing bias",
    "https://arxiv.org/abs/1810.01367",
    "text",
)
RNODE = _source(
    "Finlay et al. 2020 (RNODE)",
    "abstract",
    "Simpler dynamics lead to faster convergence and to fewer discretizations of the solver, considerably decreasing "
    "wall-clock time without loss in performance",
    "https://arxiv.org/abs/2002.02798",
)
TAYNODE = "Kelly et al. 2020, arXiv 2007.04504"
STEER = "Ghosh et al. 2020, arXiv 2006.10711"
AUGMENTED = _source(
    "Dupont et al. 2019 (Augmented Neural ODEs)",
    "section 1; the figures are in the authors' notebook",
    "ANODEs significantly reduce the computational cost of both forward and backward passes of the model compared with "
    "NODEs. Our experiments also show that ANODEs generalize better, achieve lower losses with fewer parameters and "
    "are more stable to train.",
    "https://arxiv.org/abs/1904.01681",
    "text",
)
SECOND_ORDER = _source(
    "Norcliffe et al. 2020 (SONODE)",
    "abstract",
    "we compare SONODEs and ANODEs on synthetic and real dynamical systems and demonstrate that the inductive biases "
    "of the former generally result in faster training and better performance",
    "https://arxiv.org/abs/2006.07220",
)
HEAVY_BALL = _source(
    "Xia et al. 2021 (Heavy Ball Neural ODEs)",
    "abstract",
    "Our method requires remarkably fewer forward and backward NFEs, is more accurate, and learns long-term "
    "dependencies more effectively than the other ODE-based neural network models.",
    "https://arxiv.org/abs/2110.04840",
)
PHYSIOME = _source(
    "Klötergens et al. 2025 (Physiome-ODE)",
    "abstract",
    "a baseline model that forecasts a constant value outperforms ODE-based models from the last five years on three "
    "of these existing datasets",
    "https://arxiv.org/abs/2502.07489",
)
REVERSIBLE = _source(
    "McCallum and Foster 2024",
    "abstract",
    "algebraically reversible ODE solvers that significantly improve upon both the time and memory cost of recursive "
    "checkpointing. The reversible solvers presented calculate exact gradients, are high-order and numerically stable",
    "https://arxiv.org/abs/2410.11648",
)
SYMPLECTIC = _source(
    "Matsubara et al. 2021 (symplectic adjoint); Zhuang et al. 2020 (ACA), 2021 (MALI)",
    "abstract of Matsubara et al.",
    "The symplectic adjoint method obtains the exact gradient (up to rounding error) with memory proportional to the "
    "number of uses plus the network size.",
    "https://arxiv.org/abs/2102.09750",
)
_TORCHDIFFEQ = "https://github.com/rtqichen/torchdiffeq/issues"
MORE_OUTPUTS = _source(
    "torchdiffeq issue 86",
    "the library's author, 2020",
    "Adding more query time points won't increase the number of function evaluations.",
    f"{_TORCHDIFFEQ}/86",
    "text",
)
UNION_OF_TIMES = _source(
    "torchdiffeq issue 86",
    "the library's author, 2020",
    "Perhaps the best approach is to input the union of all the ts.",
    f"{_TORCHDIFFEQ}/86",
    "text",
)
EULER_ADJOINT = _source(
    "torchdiffeq issue 88; see also issue 211",
    "a user, 2020",
    "if I enable the adjoint, the loss diverges to infinity pretty fast using Euler solver, while it keeps decreasing "
    "for Dopri5 solver",
    f"{_TORCHDIFFEQ}/88",
    "text",
)
STIFF_GRADIENT = _source(
    "Fronk and Petzold 2025",
    "abstract",
    "this vanishing gradient phenomenon is not an artifact of any particular method, but a universal feature of all "
    "A-stable and L-stable stiff numerical integration schemes",
    "https://arxiv.org/abs/2508.01519",
)
ROBUST = _source(
    "Yan et al. 2020 (TisODE)",
    "abstract",
    "In contrast to conventional convolutional neural networks (CNNs), we find that the ODENets are more robust "
    "against both random Gaussian perturbations and adversarial attack examples.",
    "https://arxiv.org/abs/1910.05513",
)
