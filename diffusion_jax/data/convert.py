"""TFRECORD to array_record for a set that tensorflow-datasets has prepared, without TensorFlow.

    python -m diffusion_jax.data.convert DIR/NAME/VERSION

TFDS's own `tfds convert_format` needs TensorFlow, Apache Beam and mlcroissant; both formats are only a framing of the
same serialised examples, so copying the records is all there is to do. The new shards are written beside the old ones,
which may then be deleted.
"""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from diffusion_jax.data.sources import DataError


def tfrecord_to_array_record(folder: Path) -> int:
    """Writes array_record shards beside the TFRECORD shards of a prepared set; returns the number of examples.

    Raises:
        DataError: if `folder` holds no prepared TFRECORD set, or a shard is cut short.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    shards = sorted(folder.glob('*.tfrecord-*-of-*'))
    info_file = folder / 'dataset_info.json'
    if not shards or not info_file.exists():
        raise DataError(f'{folder} holds no TFRECORD set; give the folder with dataset_info.json and the shards')
    examples = 0
    for shard in shards:
        target = folder / shard.name.replace('.tfrecord-', '.array_record-')
        unfinished = target.with_name(f'incomplete.{target.name}')
        writer = ArrayRecordWriter(str(unfinished), 'group_size:1')  # one record a group: made for random access
        for record in _tfrecords(shard):
            writer.write(record)
            examples += 1
        writer.close()
        unfinished.rename(target)
    # Last of all, so that a set is only ever announced when it is complete.
    info = json.loads(info_file.read_text())
    info['alternativeFileFormats'] = sorted({*info.get('alternativeFileFormats', []), 'array_record'})
    info_file.write_text(json.dumps(info, indent=2))
    return examples


def _tfrecords(path: Path) -> Iterator[bytes]:
    """Records framed as uint64 length, uint32 checksum, bytes, uint32 checksum (TensorFlow's record_writer.h)."""
    with path.open('rb') as file:
        while head := file.read(12):
            if len(head) < 12:
                raise DataError(f'{path} is cut short')
            (size,) = struct.unpack('<Q', head[:8])
            record = file.read(size + 4)
            if len(record) < size + 4:
                raise DataError(f'{path} is cut short')
            yield record[:-4]


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit('usage: python -m diffusion_jax.data.convert DIR/NAME/VERSION')
    try:
        print(f'{tfrecord_to_array_record(Path(sys.argv[1]))} examples converted')
    except (DataError, OSError) as error:
        sys.exit(str(error))
