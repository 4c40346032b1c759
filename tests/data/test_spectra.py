"""Spectra against SciPy's transform, and the laws of a tight frame."""

import numpy as np
import pytest
import scipy.signal

from diffusion_jax.data import spectra

RNG = np.random.default_rng(0)
Y = 0.3 * RNG.standard_normal((3, 512))


def test_coefficients_are_scipys_of_the_signal_on_a_circle():
    w, hop = 64, 32
    window = np.sin(np.pi * (np.arange(w) + 0.5) / w)
    around = np.concatenate([Y, Y[:, :hop]], axis=1)
    _, _, c = scipy.signal.stft(around, window=window, nperseg=w, noverlap=w - hop, boundary=None, padded=False)
    c = np.moveaxis(c, 1, 2) * window.sum() / np.sqrt(w)  # SciPy divides by the sum of the window
    found = spectra.analyse(Y, w)
    np.testing.assert_allclose(found[..., 1:], np.sqrt(2) * c[..., 1:-1], atol=1e-12)
    np.testing.assert_allclose(found[..., 0], c[..., 0].real + 1j * c[..., -1].real, atol=1e-12)
    sound = scipy.signal.istft(
        np.moveaxis(c, 2, 1) / window.sum() * np.sqrt(w), window=window, nperseg=w, noverlap=hop, boundary=False
    )[1]
    np.testing.assert_allclose(spectra.synthesise(found, w)[:, hop:], sound[:, hop:512], atol=1e-12)


@pytest.mark.parametrize('window', [2, 8, 64])
def test_a_tight_frame_keeps_energy_and_is_inverted_by_its_adjoint(window):
    c = spectra.analyse(Y, window)
    np.testing.assert_allclose((np.abs(c) ** 2).sum((1, 2)), (Y**2).sum(1))
    np.testing.assert_allclose(spectra.synthesise(c, window), Y, atol=1e-14)
    other = RNG.standard_normal(c.shape) + 1j * RNG.standard_normal(c.shape)
    # <analyse y, c> = <y, synthesise c>, of real numbers
    np.testing.assert_allclose(
        (c.real * other.real + c.imag * other.imag).sum((1, 2)), (Y * spectra.synthesise(other, window)).sum(1)
    )


@pytest.mark.parametrize('power', [1.0, 0.5, 0.3])
@pytest.mark.parametrize('folds', [(1, 1), (2, 4)])
def test_spectra_are_inverted_to_float32(power, folds):
    made = spectra.stft(64, power, 3.0, *folds)(512)
    x = made.forward(Y)
    assert x.shape == (3, *made.shape) == (3, 16 // folds[0], 32 // folds[1], 2 * folds[0] * folds[1])
    assert x.dtype == made.inverse(x).dtype == np.float32
    np.testing.assert_allclose(made.inverse(x), Y, atol=1e-6)
    np.testing.assert_array_equal(made.inverse(made.forward(0 * Y)), 0 * Y)


def test_sizes_are_compressed_and_phases_kept():
    c = spectra.analyse(Y, 64)
    x = spectra.stft(64, 0.5, 3.0)(512).forward(Y)
    z = x[..., 0] + 1j * x[..., 1]
    np.testing.assert_allclose(np.abs(z), 3 * np.sqrt(np.abs(c)), rtol=1e-5)
    np.testing.assert_allclose(z * np.abs(c), np.abs(z) * c, atol=1e-5)


def test_folding_puts_neighbours_into_channels():
    plain, folded = (spectra.stft(64, 1.0, 1.0, *folds)(512).forward(Y) for folds in ((1, 1), (2, 4)))
    for i in range(2):
        for j in range(4):
            first = 2 * (4 * i + j)
            np.testing.assert_array_equal(folded[..., first : first + 2], plain[:, i::2, j::4])


def test_what_no_signal_has_becomes_the_nearest_that_one_has():
    made = spectra.stft(64, 1.0)(512)
    x = RNG.standard_normal((3, *made.shape)).astype(np.float32)
    y = made.inverse(x)
    rest = x - made.forward(y)
    near = made.forward(y + 0.1 * RNG.standard_normal(y.shape))
    np.testing.assert_allclose((rest * made.forward(Y)).sum((1, 2, 3)), 0, atol=1e-3)  # orthogonal to all signals
    assert (((x - near) ** 2).sum((1, 2, 3)) > (rest**2).sum((1, 2, 3))).all()


@pytest.mark.parametrize(
    ('arguments', 'length', 'message'),
    [
        ({'window': 63}, 512, 'window=63 must be even'),
        ({'window': 64, 'fold_bins': 3}, 512, 'fold_bins=3 divide its half'),
        ({'window': 64, 'fold_frames': 3}, 512, '512 samples are no whole number of hops of 32, 3 at a time'),
        ({'window': 64}, 500, 'take a multiple of 32'),
        ({'power': 0.0}, 512, r'power must be in \(0, 1\]'),
        ({'scale': 0.0}, 512, r'scale must be in \(0, inf\)'),
        ({'window': 0}, 512, 'window must be a whole number'),
    ],
)
def test_what_a_spectrum_refuses(arguments, length, message):
    with pytest.raises(ValueError, match=message):
        spectra.stft(**arguments)(length)
