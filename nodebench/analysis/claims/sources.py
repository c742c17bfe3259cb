"""The papers whose claims are tested."""

from nodebench.analysis.claims.contract import Source

ANODE = Source("Gholami et al. 2019 (ANODE)", "section 3", "https://arxiv.org/abs/1902.10298")
DISCRETISE = Source("Onken and Ruthotto 2020", "abstract, as reported", "https://arxiv.org/abs/2005.13420")
RESNET_AFTER_ALL = Source(
    "Ott et al. 2021 (ResNet After All?)", "section 3, as reported", "https://arxiv.org/abs/2008.03976"
)


def chen2018(place: str) -> Source:
    """Chen et al. 2018, "Neural Ordinary Differential Equations"."""
    return Source("Chen et al. 2018", place, "https://arxiv.org/abs/1806.07366")


def breakdown(place: str) -> Source:
    """The article "Neural ODEs: breakdown of another deep learning breakthrough"."""
    return Source("the Breakdown article", place, "")
