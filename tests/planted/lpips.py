"""LPIPS, its files, and PyTorch's."""

from tests.planted.mutant import Mutant

NET, FILES, TORCH = 'tests/nets/test_lpips.py::', 'tests/interop/test_lpips.py::', 'tests/interop/test_torch_file.py::'
BY_HAND, PLACES = NET + 'test_a_distance_by_hand', FILES + 'test_every_number_goes_to_its_place'
ZIP, LEGACY, ONLY = (
    TORCH + 'test_a_zip_archive_with_strides_offsets_and_one_storage_for_two',
    TORCH + 'test_the_format_before_torch_1_6',
    TORCH + 'test_only_named_tensors_are_read',
)

MUTANTS = tuple(Mutant(*row) for row in [
    ('features not normalised', 'nets/lpips.py', '(unit(f) - unit(g)) ** 2', '(f - g) ** 2', BY_HAND),
    ('absolute differences', 'nets/lpips.py', '(unit(f) - unit(g)) ** 2', 'jnp.abs(unit(f) - unit(g))', BY_HAND),
    ('images not scaled', 'nets/lpips.py', 'h = (x - jnp.array(SHIFT, dtype)[None, None, None])',
     'h = (x - 0 * jnp.array(SHIFT, dtype)[None, None, None])', BY_HAND),
    ('blue before red', 'nets/lpips.py', 'SCALE = (0.458, 0.448, 0.450)', 'SCALE = (0.450, 0.448, 0.458)', BY_HAND),
    ('average pooling', 'nets/lpips.py', 'nn.max_pool', 'nn.avg_pool', BY_HAND),
    ('first pooling left out', 'nets/lpips.py', 'if i:\n            h', 'if i > 1:\n            h', BY_HAND),
    ('sum over pixels', 'nets/lpips.py', 'jnp.mean((unit', 'jnp.sum((unit', BY_HAND),
    ('bias after relu', 'nets/lpips.py', 'nn.relu(h + bias[None, None, None])', 'nn.relu(h) + bias[None, None, None]',
     BY_HAND),
    ('shifted by a pixel', 'nets/lpips.py', "'SAME', dimension", '[(1, 1), (2, 0)], dimension',
     BY_HAND),
    ('no derivative without features', 'nets/lpips.py', 'jnp.where(square == 0, 1, square)', 'square',
     NET + 'test_pixels_without_features_have_a_gradient'),
    ('grey is red', 'nets/lpips.py', 'jnp.broadcast_to(x.astype(dtype), (*x.shape[:3], 3))',
     'jnp.pad(x.astype(dtype), ((0, 0), (0, 0), (0, 0), (0, 3 - x.shape[3])))',
     NET + 'test_grey_images_are_three_equal_channels'),
    ('nearest for bilinear', 'objectives/distances.py', "'bilinear'", "'nearest'",
     NET + 'test_resizing_is_bilinear_to_a_square_or_none'),
    ('only a is resized', 'objectives/distances.py', 'scale(a), scale(b)', 'scale(a), b',
     NET + 'test_resizing_is_bilinear_to_a_square_or_none'),
    ('height for width', 'interop/lpips.py', 'transpose(2, 3, 1, 0)', 'transpose(3, 2, 1, 0)',
     FILES + 'test_kernels_keep_height_and_width'),
    ('VGG19 for VGG16', 'interop/lpips.py', '{17: (256, 512), 19:', '{16: (256, 512), 19:', PLACES),
    ('shapes unchecked', 'interop/torch_file.py', 'if tensors[name].shape != shape',
     'if tensors[name].ndim != len(shape)', FILES + 'test_wrong_files_are_one_line_that_says_what_is_missing'),
    ('strides forgotten', 'interop/torch_file.py', ', [s * dtype.itemsize for s in stride]', '', ZIP),
    ('offset in bytes', 'interop/torch_file.py', '(storage.start + offset) * dtype.itemsize', 'storage.start + offset',
     ZIP),
    ('every tensor its own storage', 'interop/torch_file.py', 'storage = functools.cache(storage)',
     'storage = lambda key, read=storage: read(key)', ZIP),
    ('storages in the order of the tensors', 'interop/torch_file.py', 'for key in map(str, keys)',
     'for key in itemsizes', LEGACY),
    ('storages of four bytes each', 'interop/torch_file.py', 'length * itemsizes[key]', 'length * 4', LEGACY),
    ('views of storages forgotten', 'interop/torch_file.py', '(storage.start + offset)', '(offset)', LEGACY),
    ('any name is looked up', 'interop/torch_file.py',
     "raise pickle.UnpicklingError(f'it needs {module}.{name}, and only tensors are read')",
     'return super().find_class(module, name)', ONLY + '[command] ' + ONLY + '[builtin]'),
    ('conjugate ignored', 'interop/torch_file.py', 'if metadata:', 'if metadata is False:', ONLY + '[conjugate]'),
    ('a checkpoint for a state dict', 'interop/torch_file.py', 'if not isinstance(value, _Tensor)',
     'if not isinstance(value, (_Tensor, dict, int))', ONLY + '[checkpoint]'),
])  # fmt: skip
