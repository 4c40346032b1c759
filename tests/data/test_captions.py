"""Captions of pictures: whose is whose, in every form that says them, and what is refused."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.data.errors import DataError
from diffusion_jax.data.folder import folder
from tests import tiny

SAID = {'a.png': 'none', 'b.png': 'one, or "1"', 'c.png': 'zwei\nöde\u2028Äpfel'}


def pictures(folder, names):
    """PNGs whose grey value is their place among all names."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(folder / name)


def csv_of(said):
    quoted = {name: '"' + text.replace('"', '""') + '"' for name, text in said.items()}
    return 'text,file_name\n' + ''.join(f'{text},{name}\n' for name, text in reversed(quoted.items()))


def jsonl_of(said, column='text'):
    return ''.join(json.dumps({column: text, 'file_name': name, 'more': 3}) + '\n' for name, text in said.items())


def told(path, split='all', **more):
    """By grey value, what is told of each picture."""
    found = folder(str(path), split, 'caption', cache=str(path.parent / 'cache'), **more)
    texts = [bytes(v[m].astype(np.uint8)).decode() for v, m in zip(found.cond.values, found.cond.mask, strict=True)]
    return dict(zip(found.x[:, 0, 0, 0].tolist(), texts, strict=True))


@pytest.mark.parametrize(
    'files',
    [
        {'metadata.csv': csv_of(SAID)},
        {'metadata.csv': '\ufeff' + csv_of(SAID)},  # as spreadsheets write it
        {'metadata.jsonl': jsonl_of(SAID)},
        {'metadata.jsonl': jsonl_of(SAID, 'caption')},
        {'metadata.jsonl': jsonl_of(SAID).replace('\\u2028', '\u2028')},  # as other programs write it
        {name.replace('png', 'txt'): f' {text}\n' for name, text in SAID.items()},
    ],
)
@pytest.mark.parametrize('form', ['folder', 'zip', 'folder in a zip'])
def test_each_picture_has_its_own_caption_in_every_form(files, form, tmp_path):
    path = tmp_path / 'set'
    pictures(path, SAID)
    for name, text in files.items():
        (path / name).write_text(text, newline='')
    if form != 'folder':
        top = 'top/' if 'in' in form.split() else ''
        with zipfile.ZipFile(tmp_path / 'set.zip', 'w') as archive:
            for file in path.iterdir():
                archive.write(file, top + file.name)
        path = tmp_path / 'set.zip'
    assert told(path) == dict(enumerate(SAID.values()))


def test_splits_have_files_of_their_own_or_one_above(tmp_path):
    names = ['test/x.png', 'train/deep/y.png', 'train/x.png']
    pictures(tmp_path / 'set', names)
    (tmp_path / 'set/train/metadata.csv').write_text('file_name,text\nx.png,two\n./deep/y.png,one\n')
    (tmp_path / 'set/metadata.csv').write_text('file_name,text\ntest/x.png,zero\n')
    assert told(tmp_path / 'set') == {0: 'zero', 1: 'one', 2: 'two'}
    assert told(tmp_path / 'set', 'train') == {1: 'one', 2: 'two'}


def test_a_file_above_one_folder_of_pictures_names_them_from_where_it_lies(tmp_path):
    pictures(tmp_path / 'set', ['images/a.png', 'images/b.png'])
    (tmp_path / 'set/metadata.csv').write_text('file_name,text\nimages/b.png,one\nimages/a.png,zero\n')
    assert told(tmp_path / 'set') == {0: 'zero', 1: 'one'}


def test_captions_that_change_are_read_anew(tmp_path):
    pictures(tmp_path / 'set', ['a.png'])
    for text in ('before', 'after'):
        (tmp_path / 'set/a.txt').write_text(text)
        assert told(tmp_path / 'set') == {0: text}


@pytest.mark.parametrize(
    ('file', 'text', 'said'),
    [
        ('unused', '', 'has no captions: it needs metadata.csv or metadata.jsonl with the columns file_name and text'),
        (
            'metadata.csv',
            'name,text\na.png,x\n',
            "metadata.csv does not tell file_name and text of each picture: 'file_",
        ),
        ('metadata.csv', 'file_name,words\na.png,x\n', "does not tell file_name and text of each picture: 'text'"),
        ('metadata.csv', 'file_name,text\na.png\n', "('a.png', None) are no texts"),
        ('metadata.csv', 'file_name,text\na.png,"x\n', 'does not tell file_name and text of each picture: '),
        ('metadata.jsonl', '{"file_name": "a.png", "text": 3}', "('a.png', 3) are no texts"),
        ('metadata.jsonl', '{"file_name": "a.png"', 'metadata.jsonl does not tell file_name and text'),
        ('metadata.jsonl', '[1]', 'metadata.jsonl does not tell file_name and text'),
        ('metadata.csv', 'file_name,text\nz.png,x\n', 'metadata.csv tells of z.png, and there is no such picture'),
        ('metadata.csv', 'file_name,text\na.png,x\na.png,y\n', 'a.png has two captions'),
        ('metadata.csv', 'file_name,text\na.png,x\n', 'b.png has no caption'),
        ('metadata.csv', 'file_name,text\na.png,x\nb.png, \n', 'b.png has no caption'),
        ('metadata.csv', 'file_name,text\na.png,ääh\nb.png,x\n', 'the longest caption, of a.png, has 5 bytes'),
        ('a.txt', 'x', 'b.png has no caption'),
    ],
)
def test_what_tells_nothing_is_one_line(file, text, said, tmp_path):
    pictures(tmp_path / 'set', ['a.png', 'b.png'])
    (tmp_path / 'set' / file).write_text(text, encoding='utf-8')
    with pytest.raises(DataError) as raised:
        told(tmp_path / 'set', text_length=4)
    assert said in str(raised.value)
    assert '\n' not in str(raised.value)


def test_a_text_of_other_bytes_is_one_line(tmp_path):
    pictures(tmp_path / 'set', ['a.png'])
    (tmp_path / 'set/a.txt').write_bytes(b'\xff\xfe\xff')
    with pytest.raises(DataError, match=r'a .txt beside a picture is no UTF-8'):
        told(tmp_path / 'set')


@pytest.mark.slow
def test_captioned_pictures_train_a_network_that_is_asked_by_prompts(tmp_path):
    names = [f'{i:02d}.png' for i in range(20)]
    pictures(tmp_path / 'set', names)
    (tmp_path / 'set/metadata.csv').write_text(
        'file_name,text\n' + ''.join(f'{name},a grey of {i}\n' for i, name in enumerate(names))
    )
    run = f'--workdir={tmp_path}/run'
    config = [
        '--config=tiles_edm:runlocal', '--config.data.name=folder', f'--config.data.dir={tmp_path}/set',
        '--config.data.condition=caption', '--config.data.text_length=16', '--config.data.channels=3',
        f'--config.data.cache={tmp_path}/cache', '--config.train.steps=2', '--config.net.multipliers=(1,)',
        '--config.net.text_layers=1',
        '--config.eval.reference=all', '--config.eval.held_out=None', '--config.train.batch_size=8',
    ]  # fmt: skip
    assert tiny.call('diffusion_jax.train', run, *config) == 0
    sampled = ('diffusion_jax.sample', run, '--num=2', '--steps=2')
    assert tiny.call(*sampled, '--cond=prompts:text=a grey of 3', f'--out={tmp_path}/asked') == 0
    assert tiny.call(*sampled, '--cond=prompts:text=other words', f'--out={tmp_path}/other') == 0
    with np.load(tmp_path / 'asked.npz') as asked, np.load(tmp_path / 'other.npz') as other:
        assert asked['samples'].shape == (2, 4, 4, 3)
        assert asked['samples'].dtype == other['samples'].dtype == np.uint8
