"""The papers whose claims are tested."""

from nodebench.analysis.claims.contract import Source

ANODE = Source("Gholami et al. 2019 (ANODE)", "section 3", "https://arxiv.org/abs/1902.10298")
DISCRETISE = Source("Onken and Ruthotto 2020", "abstract, as reported", "https://arxiv.org/abs/2005.13420")
RESNET_AFTER_ALL = Source(
    "Ott et al. 2021 (ResNet After All?)", "section 3, as reported", "https://arxiv.org/abs/2008.03976"
)

SEMINORM = Source("Kidger et al. 2021", "abstract, as reported", "https://arxiv.org/abs/2009.09457")
TORCHODE = Source("Lienen and Günnemann 2022 (torchode)", "section 4", "https://arxiv.org/abs/2210.12375")
DIFFRAX = Source("diffrax's documentation", "front page and benchmarks", "https://docs.kidger.site/diffrax/")


def chen2018(place: str) -> Source:
    """Chen et al. 2018, "Neural Ordinary Differential Equations"."""
    return Source("Chen et al. 2018", place, "https://arxiv.org/abs/1806.07366")


def breakdown(place: str) -> Source:
    """The article "Neural ODEs: breakdown of another deep learning breakthrough"."""
    return Source("the Breakdown article", place, "")
