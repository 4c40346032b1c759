"""Bugs in recordings, their spectra, what is told beside them, and in what judges them."""

from tests.planted.mutant import Mutant

# fmt: off
SPECTRA, CLIPS, PAIRS, JUDGE = 'data/spectra.py', 'data/recordings.py', 'data/spoken_images.py', 'evaluation/sounds.py'
KINDS, COMMAND = 'data/kinds.py', '../experiments/sound.py'
OF_SPECTRA, OF_CLIPS = 'tests/data/test_spectra.py::', 'tests/data/test_recordings.py::'
OF_PAIRS, OF_JUDGE = 'tests/data/test_spoken_images.py::', 'tests/evaluation/test_sounds.py::'
TIGHT = OF_SPECTRA + 'test_a_tight_frame_keeps_energy_and_is_inverted_by_its_adjoint[64]'
INVERTED = OF_SPECTRA + 'test_spectra_are_inverted_to_float32[folds1-0.5]'
SCIPY = OF_SPECTRA + 'test_coefficients_are_scipys_of_the_signal_on_a_circle'
CUT = OF_CLIPS + 'test_clips_are_cut_and_filled_with_silence'
SAME = OF_CLIPS + 'test_spectra_are_the_same_sound_and_loudness_is_made_equal'
TOLD = OF_CLIPS + 'test_what_is_told'
CLASS = OF_PAIRS + 'test_a_picture_has_a_recording_of_its_class_and_each_is_as_likely'
VARIED = OF_JUDGE + 'test_varied_sounds_are_later_and_noisier_and_a_function_of_their_row'
SPOILT = OF_JUDGE + 'test_corruptions_are_what_they_say'
SHARES = 'tests/experiments/test_sound.py::test_shares_and_distances_are_those_of_the_sounds'

MUTANTS = tuple(Mutant(*row) for row in [
    ('spectra: a window half a sample off', SPECTRA, '(np.arange(window) + 0.5)', '(np.arange(window) + 0.25)', SCIPY),
    ('spectra: one-sided energy counted once', SPECTRA, 'packed = np.sqrt(2) * c[..., :-1]',
     'packed = 1 * c[..., :-1]', TIGHT),
    ('spectra: the highest frequency is lost', SPECTRA, '1j * c[..., -1].real', '0j * c[..., -1].real', TIGHT),
    ('spectra: frames reach backwards', SPECTRA, 'np.roll(halves, -1, axis=1)', 'np.roll(halves, 1, axis=1)', SCIPY),
    ('spectra: halves added at the wrong hop', SPECTRA, 'np.roll(frames[..., hop:], 1, axis=1)',
     'np.roll(frames[..., hop:], 2, axis=1)', TIGHT),
    ('spectra: expanded by the power that compressed', SPECTRA, '_compress(c / scale, 1 / power, 1.0)',
     '_compress(c / scale, power, 1.0)', INVERTED),
    ('spectra: the scale is forgotten on the way back', SPECTRA, '_compress(c / scale,', '_compress(c,', INVERTED),
    ('spectra: folded along time, unfolded along frequency', SPECTRA, 'x.reshape(n, f, k, a, b, c // (a * b))',
     'x.reshape(n, f, k, b, a, c // (a * b))', INVERTED),
    ('spectra: parts of real and imaginary apart', SPECTRA, '.reshape(n, f // a, a, k // b, b, c)',
     '.reshape(n, f // a, a, b, k // b, c)', OF_SPECTRA + 'test_folding_puts_neighbours_into_channels'),
    ('spectra: sizes are compressed twice', SPECTRA, '** (power - 1)', '** (2 * power - 2)',
     OF_SPECTRA + 'test_sizes_are_compressed_and_phases_kept'),
    ('recordings: silence before them', CLIPS, 'np.pad(y, (0, length - len(y)))', 'np.pad(y, (length - len(y), 0))',
     CUT),
    ('recordings: their end is kept', CLIPS, 'y = y[:length]', 'y = y[-length:]', CUT),
    ('recordings: loudness by the mean', CLIPS, 'loudest = np.abs(y).max()', 'loudest = np.abs(y).mean()', SAME),
    ('recordings: half as loud in the spectrum', CLIPS, 'self.clips[index] / 2**15', 'self.clips[index] / 2**16', SAME),
    ('recordings: rows of another order', CLIPS, 'self.spectrum.forward(self.clips[index]',
     'self.spectrum.forward(self.clips[np.sort(index)]', SAME),
    ('recordings: words one off', CLIPS, 'np.asarray(labels, np.int32)[:, None]',
     'np.asarray(labels, np.int32)[:, None] - 1', TOLD),
    ('recordings: any rate will do', CLIPS, 'if own is not None and own != rate:', 'if own is not None and own < rate:',
     OF_CLIPS + 'test_sets_that_are_refused'),
    ('spectrogram: a sound of another length is taken', KINDS, 'if x.shape[-2:] != sound.shape:',
     'if x.shape[-1:] != sound.shape[-1:]:', SAME),
    ('spoken images: any recording', PAIRS, 'np.flatnonzero(heard == label)', 'np.flatnonzero(heard >= 0)', CLASS),
    ('spoken images: the first recording alone', PAIRS, 'rng.choice(of_label, ', 'rng.choice(of_label[:1], ', CLASS),
    ('spoken images: pictures that are not told', PAIRS, 'np.ones(len(values), bool)', 'np.zeros(len(values), bool)',
     OF_PAIRS + 'test_the_picture_is_told_in_full'),
    ('judge of sound: natural logarithms in mel', JUDGE, '2595 * np.log10(', '2595 * np.log(',
     OF_JUDGE + 'test_the_mel_scale_and_its_bands'),
    ('judge of sound: amplitudes for powers', JUDGE, 'decibels = 10 * np.log10(', 'decibels = 20 * np.log10(',
     OF_JUDGE + 'test_decibels_are_those_of_the_power'),
    ('judge of sound: it hears loudness', JUDGE, 'np.maximum(power / loudest,', 'np.maximum(power / loudest.max(),',
     OF_JUDGE + 'test_each_sound_has_a_loudest_cell_of_its_own'),
    ('judge of sound: never later', JUDGE, 'rng.integers(len(y) // 8 + 1)', 'rng.integers(1)', VARIED),
    ('judge of sound: noise by amplitude', JUDGE, '10 ** (-decibels / 10)) * rng', '10 ** (-decibels / 20)) * rng',
     OF_JUDGE + 'test_noise_has_the_power_that_is_said'),
    ('judge of sound: muffled at 4 kHz', JUDGE, 'butter(4, 1000,', 'butter(4, 3900,', SPOILT),
    ('judge of sound: cut by half of its length', JUDGE, 'np.where(power < power[:, -1:] / 2, y, 0)',
     'np.where(np.arange(y.shape[1]) < y.shape[1] / 4, y, 0)', SPOILT),
    ('sound: the error of one sample', COMMAND, 'float(np.sqrt(right * (1 - right) / len(y)))',
     'float(np.sqrt(right * (1 - right)))', SHARES),
    ('sound: Frechet distance of the speaker', COMMAND, "judges['label'].apply(sounds.seen(y, rate))",
     "judges['speaker'].apply(sounds.seen(y, rate)) * 2", SHARES),
])
