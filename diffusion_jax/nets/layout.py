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
        skip_scale: factor of every residual sum, of blocks and of attention.
        projects: a block that changes the resolution has a dense layer in its shortcut, though the width stays.
        attends_last: upwards only the last block of a level is followed by attention.
        fir: blocks change the resolution through the filter of `nets.fir`, of zero padding.
        fourier: instead of the sinusoids of the noise level there are twice as many, whose frequencies are drawn from a
            normal distribution of this standard deviation once and stay.
        early: classes are told among the sinusoids.
        encoder: what of x itself the way down sees at each level: 'standard', nothing; 'skip', x smaller, through a
            dense layer; 'residual', what the level before saw, smaller, through a convolution, summed up (needs `fir`).
        decoder: 'standard', the last level answers; 'skip', every level does, and larger ones add to it.
    """

    eps: float = 1e-6
    groups: int | None = None
    cosines_first: bool = False
    shift: int = 1
    symmetric: bool = False
    skip_scale: float = 1.0
    projects: bool = False
    attends_last: bool = False
    fir: bool = False
    fourier: float | None = None
    early: bool = False
    encoder: str = 'standard'
    decoder: str = 'standard'


def adm(groups: int | None = 32) -> Layout:
    """That of iDDPM, ADM and OpenAI's consistency models (arXiv 2102.09672, 2105.05233, 2303.01469; their code)."""
    return Layout(eps=1e-5, groups=groups, cosines_first=True, shift=0, symmetric=True)


def song(
    fir: bool = False, fourier: float | None = None, encoder: str = 'standard', decoder: str = 'standard'
) -> Layout:
    """That of DDPM++ as EDM has it (arXiv 2011.13456, 2206.00364; the latter's code), and of its SongUNet's options."""
    plain = Layout(skip_scale=0.5**0.5, projects=True, attends_last=True, early=True)
    return plain._replace(fir=fir, fourier=fourier, encoder=encoder, decoder=decoder)


def ncsnpp() -> Layout:
    """That of NCSN++, of the same papers."""
    return song(fir=True, fourier=16.0, encoder='residual')


def dhariwal() -> Layout:
    """ADM's as EDM has it: with fewer groups where they would have less than 4 channels."""
    return adm(groups=None)


DDPM = Layout()
