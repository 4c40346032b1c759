"""A file of samples that is filled batch by batch: what is drawn survives an interruption."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from diffusion_jax.devices import processes
from diffusion_jax.errors import Interrupted
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath


def fill(
    path: AnyPath,
    request: Mapping[str, Any],
    num: int,
    draw_from: Callable[[int], Iterator[np.ndarray]],
    store: Callable[[np.ndarray], np.ndarray],
    progress: Callable[[int], None] = lambda done: None,
    beside: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray | None:
    """Draws `num` samples into `path`, an .npz with the array `samples` and those of `beside`; returns the samples.

    Of several processes, which draw together, the first writes, and the others get None.

    Until they are all there they lie in two files beside it (for a bucket: on this machine, in
    ~/.cache/diffusion_jax_samples), with a dot before their names. The same request finds them and goes on after the
    last batch that was written; another request begins anew.

    Args:
        path: of the .npz.
        request: all that the samples depend on, as JSON has it.
        num: how many.
        draw_from: yields batches `[b, ...]` of the samples from an index on, in order.
        store: from samples as drawn to what the file holds, a kind's.
        progress: called with the number of samples done.
        beside: what else the file shall hold.

    Raises:
        Interrupted: on Ctrl-C, with what is saved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    near = paths.near(path)
    rows_file = near.with_name(f'.{path.stem}.unfinished.npy')
    done_file = near.with_name(f'.{path.stem}.unfinished.json')
    request = {**request, 'num': num}
    done, rows = 0, None
    if processes.is_first():
        done, rows = _begun(rows_file, done_file, request)
    (done,) = processes.from_first([done])  # what the others have on their disks is of another time
    progress(done)
    try:
        for part in draw_from(done):
            if not processes.is_first():
                continue
            part = store(part)
            if rows is None:
                done_file.unlink(missing_ok=True)  # it may tell of another request's rows
                rows = np.lib.format.open_memmap(rows_file, 'w+', part.dtype, (num, *part.shape[1:]))
            rows[done : done + len(part)] = part
            rows.flush()
            done += len(part)
            files.write_json(done_file, {'request': request, 'done': done, 'rows': _form(rows)})
            progress(done)
    except KeyboardInterrupt as error:
        message = f'stopped after {done} of {num} samples. Run the same command again to go on.'
        raise Interrupted(message) from error
    if rows is None:
        return None
    unfinished = near.with_name(f'.{path.stem}.unfinished.npz')
    arrays: dict[str, Any] = {'samples': rows, **{name: store(a) for name, a in (beside or {}).items()}}
    np.savez_compressed(unfinished, **arrays)
    if paths.is_remote(path):
        path.write_bytes(unfinished.read_bytes())
        unfinished.unlink()
    else:
        unfinished.replace(path)
    rows_file.unlink()
    done_file.unlink()
    return np.asarray(rows)


def _begun(rows_file, done_file, request):
    """How many samples of this request there are, and the array that holds them; none where either file is damaged."""
    try:
        told = files.read_json(done_file, {})
        if told.get('request') == request:
            np.lib.format.open_memmap(rows_file, mode='r')  # refuses a file cut short, which r+ fills up with zeros
            rows, done = np.lib.format.open_memmap(rows_file, mode='r+'), told['done']
            if told['rows'] == _form(rows) and type(done) is int and 0 < done <= len(rows):
                return done, rows
    except Exception:  # NumPy has many types for a damaged file
        pass
    return 0, None


def _form(rows):
    return [rows.dtype.str, list(rows.shape)]
