"""Samples as files to look at or listen to: functions of a path without suffix and of samples `[n, ...]` in [-1, 1].

They know nothing of kinds of data; `kinds` says which of them shows what.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from diffusion_jax.data.quantise import to_uint8

_GAP = 128  # grey level between images
_SHOWN = 16  # sounds, texts
_FRAME_MS = 100
_RULE = 40 * '-'


def images(path: Any, x: Shaped[np.ndarray, 'n h w c']) -> None:
    """One PNG: a grid of the images. Of other than 1, 3 or 4 channels each becomes a grey image of its own."""
    save_png(_with(path, 'png'), framed_grid(x, columns=int(np.ceil(np.sqrt(len(x))))))


def points(path: Any, x: Float[np.ndarray, 'n ...']) -> None:
    """One PNG: points by their first two coordinates, a histogram where there is one only."""
    flat = x.reshape(len(x), -1)
    figure = _figure(figsize=(4, 4))
    axes = figure.add_subplot()
    if flat.shape[1] == 1:
        axes.hist(flat[:, 0], bins=50)
        axes.set_xlabel('x')
    else:
        axes.scatter(flat[:, 0], flat[:, 1], s=3)
        axes.set_aspect('equal')
    _save(figure, path)


def curves(path: Any, x: Float[np.ndarray, 'n l c']) -> None:
    """One PNG: the first samples below each other, a line for each channel."""
    x = x[:_SHOWN]
    figure = _figure(figsize=(8, 0.8 * len(x) + 0.4))
    for i, sample in enumerate(x):
        axes = figure.add_subplot(len(x), 1, i + 1)
        axes.plot(sample, linewidth=0.6)
        axes.set_ylim(-1.05, 1.05)
        axes.set_xlim(0, len(sample) - 1)
        axes.tick_params(labelbottom=i == len(x) - 1, labelsize=6)
    _save(figure, path)


def sounds(rate: int) -> Callable[[Any, np.ndarray], None]:
    """One WAV file of the first samples, a tenth of a second between them, and their curves; `rate` in Hz."""

    def show(path: Any, x: Float[np.ndarray, 'n l c']) -> None:
        from scipy.io import wavfile

        curves(path, x)
        parts = np.pad(x[:_SHOWN], ((0, 0), (0, rate // 10), (0, 0))).reshape(-1, x.shape[-1])
        with _with(path, 'wav').open('wb') as file:
            wavfile.write(file, rate, np.round(np.clip(parts, -1, 1) * 32767).astype(np.int16))

    return show


def videos(path: Any, x: Shaped[np.ndarray, 'n t h w c']) -> None:
    """One GIF: a grid of the videos, all played together."""
    columns = int(np.ceil(np.sqrt(len(x))))
    frames = [framed_grid(x[:, t], columns) for t in range(x.shape[1])]
    pictures = [Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in frames]
    with _with(path, 'gif').open('wb') as file:
        pictures[0].save(file, 'GIF', save_all=True, append_images=pictures[1:], duration=_FRAME_MS, loop=0)


def fields(path: Any, x: Float[np.ndarray, 'n h w c']) -> None:
    """One PNG: a row for each of the first samples, a colour map with its scale for each channel."""
    x = x[:8]
    rows, channels = len(x), x.shape[-1]
    figure = _figure(figsize=(2.4 * channels, 2 * rows), layout='constrained')
    for i in range(rows):
        for c in range(channels):
            axes = figure.add_subplot(rows, channels, i * channels + c + 1)
            drawn = axes.imshow(x[i, ..., c], cmap='RdBu_r')
            axes.set_axis_off()
            figure.colorbar(drawn, ax=axes)
    _save(figure, path)


def texts(decode: Callable[[np.ndarray], str]) -> Callable[[Any, np.ndarray], None]:
    """One text file, a sample a line, by `decode` of the values of one; a rule between samples of several lines."""

    def show(path: Any, x: np.ndarray) -> None:
        samples = [decode(sample) for sample in x[:_SHOWN]]
        between = f'\n{_RULE}\n' if any('\n' in sample for sample in samples) else '\n'
        _with(path, 'txt').write_text(between.join(samples) + '\n')

    return show


def nothing(path: Any, x: np.ndarray) -> None:
    """Data that nobody can look at."""


def framed_grid(x: Shaped[np.ndarray, 'n h w c'], columns: int) -> UInt8[np.ndarray, 'H W C']:
    """Uint8 images of at least 32 pixels (small ones enlarged by whole factors) on a grid, a grey line around each."""
    if x.shape[-1] not in (1, 3, 4):
        columns *= x.shape[-1]
        x = np.moveaxis(x, -1, 1).reshape(-1, *x.shape[1:3], 1)
    scale = max(1, -(-32 // x.shape[1]))
    enlarged = (x if x.dtype == np.uint8 else to_uint8(x)).repeat(scale, 1).repeat(scale, 2)
    return image_grid(np.pad(enlarged, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=_GAP), columns)


def named_rows(path: Any, rows: Mapping[str, Shaped[np.ndarray, 'n h w c']], columns: Sequence[str] = ()) -> None:
    """One PNG: named rows of images below each other, with their names, and those of the `columns` above them."""
    grids = {name: framed_grid(x, columns=len(x)) for name, x in rows.items()}
    height, width = next(iter(grids.values())).shape[:2]
    left = max(1.2, 0.08 * max(map(len, rows)))  # inches for the names
    tall, above = 8 * len(rows) * height / width, 0.3 * bool(columns)
    figure = _figure(figsize=(8 + left, tall + above))
    row = tall / (tall + above) / len(rows)
    for i, (name, grid) in enumerate(grids.items()):
        axes = figure.add_axes((left / (8 + left), (len(rows) - i - 1) * row, 8 / (8 + left), row))
        axes.imshow(grid, cmap='gray', vmin=0, vmax=255, interpolation='nearest', aspect='auto')
        axes.set_axis_off()
        axes.text(-0.01, 0.5, name, transform=axes.transAxes, ha='right', va='center', fontsize=9)
    for i, name in enumerate(columns):
        x = (left + 8 * (i + 0.5) / len(columns)) / (8 + left)
        figure.text(x, len(rows) * row + 0.3 * (1 - len(rows) * row), name, ha='center', va='bottom', fontsize=8)
    with path.open('wb') as file:  # the path has its suffix
        figure.savefig(file, dpi=100)


def ways(path: Any, panels: Mapping[str, Float[np.ndarray, 's n d']]) -> None:
    """One PNG: in each named panel the ways of n points over s times, by their first two coordinates.

    A ring marks where a way begins and a dot where it ends. Points of one coordinate are drawn over their steps.
    """
    figure = _figure(figsize=(5.5 * len(panels), 5.5), layout='constrained')
    for i, (name, x) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        steps = np.broadcast_to(np.arange(len(x))[:, None], x.shape[:2])
        across, up = (x[..., 0], x[..., 1]) if x.shape[-1] > 1 else (steps, x[..., 0])
        axes.plot(across, up, linewidth=0.8, marker='.', markersize=3)
        axes.scatter(across[0], up[0], s=30, facecolors='none', edgecolors='grey', label='begins')
        axes.scatter(across[-1], up[-1], s=20, color='black', zorder=3, label='ends')
        axes.set(title=name, xlabel='first coordinate' if x.shape[-1] > 1 else 'step')
        axes.set_ylabel('second coordinate' if x.shape[-1] > 1 else 'x')
        axes.set_aspect('equal' if x.shape[-1] > 1 else 'auto', 'datalim')
        axes.legend()
    _save(figure, path)


def image_grid(images: UInt8[np.ndarray, 'n h w c'], columns: int) -> UInt8[np.ndarray, 'H W c']:
    """Images side by side, row by row from the top left; an unfinished last row ends in zeros."""
    n, h, w, c = images.shape
    rows = -(-n // columns)
    cells = np.zeros((rows * columns, h, w, c), np.uint8)
    cells[:n] = images
    return cells.reshape(rows, columns, h, w, c).swapaxes(1, 2).reshape(rows * h, columns * w, c)


def save_png(path: Any, image: UInt8[np.ndarray, 'h w c']) -> None:
    """Writes a picture with 1 (grey), 3 (RGB) or 4 (RGBA) channels.

    Raises:
        ValueError: for any other number of channels.
    """
    if image.shape[-1] not in (1, 3, 4):
        raise ValueError(f'a PNG has 1, 3 or 4 channels, not {image.shape[-1]}')
    with path.open('wb') as file:
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, format='PNG')


def _figure(**settings):
    from matplotlib.figure import Figure  # half a second to import

    return Figure(**settings)


def _save(figure, path):
    with _with(path, 'png').open('wb') as file:
        figure.savefig(file, dpi=100)


def _with(path, suffix):
    return path.with_name(f'{path.name}.{suffix}')
