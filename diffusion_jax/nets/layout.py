"""In what official U-Nets differ beside their sizes: weights are of use only to the layout that trained them."""

from typing import NamedTuple


class Layout(NamedTuple):
    """What the blocks of a U-Net compute; the defaults are DDPM's.

    Attributes:
        eps: of every group normalisation, beside its variances.
        groups: of every group normalisation, a divisor of all widths; None for 32, and fewer where a group would have
            less than 4 channels.
        cosines_first: the order of the noise level's sinusoids.
        shift: the last of h sinusoids has the frequency 10,000^(-(h - 1) / (h - shift)); below h.
        symmetric: convolutions of stride 2 are padded by one pixel on both sides; otherwise by one behind the last.
    """

    eps: float = 1e-6
    groups: int | None = None
    cosines_first: bool = False
    shift: int = 1
    symmetric: bool = False


def adm(groups: int | None = 32) -> Layout:
    """That of iDDPM, ADM and OpenAI's consistency models (arXiv 2102.09672, 2105.05233, 2303.01469; their code)."""
    return Layout(eps=1e-5, groups=groups, cosines_first=True, shift=0, symmetric=True)


DDPM = Layout()
