"""Lines in metrics.jsonl, and what a resumed run does with those it will write again."""

import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from diffusion_jax.training.logs import Log


def lines(folder):
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def write(folder, start, steps):
    with Log(folder, start, steps=100) as log:
        for k in steps:
            log.write(k, {'loss': k / 2})


def test_lines(tmp_path):
    write(tmp_path, 0, [10, 20])
    assert lines(tmp_path) == [{'step': 10, 'loss': 5.0}, {'step': 20, 'loss': 10.0}]


def test_a_resumed_run_drops_what_it_does_again(tmp_path):
    write(tmp_path, 0, [10, 20, 30])
    with (tmp_path / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 40, "lo')  # what a killed run leaves
    write(tmp_path, 20, [30, 40])
    assert [line['step'] for line in lines(tmp_path)] == [10, 20, 30, 40]


def test_a_full_disk_at_resume_loses_no_line(tmp_path, monkeypatch):
    write(tmp_path, 0, [10, 20, 30])
    before = (tmp_path / 'metrics.jsonl').read_bytes()

    def full(self, text, *args, **kwargs):
        with self.open('w') as file:
            file.write(text[:5])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('pathlib.Path.write_text', full)
    with pytest.raises(OSError, match='No space left'):
        Log(tmp_path, 20, steps=100)
    assert (tmp_path / 'metrics.jsonl').read_bytes() == before


def events(path):
    data = path.read_bytes()
    while data:
        (size,) = struct.unpack('<Q', data[:8])  # then a checksum, the event and a checksum
        yield Event.FromString(data[12 : 12 + size])
        data = data[16 + size :]


def test_tensorboard_shows_each_step_once(tmp_path):
    shown = {}
    for i, (start, steps) in enumerate([(0, [10, 20, 30]), (20, [30, 40])]):
        before = {*tmp_path.glob('events*')}
        write(tmp_path, start, steps)
        (new,) = {*tmp_path.glob('events*')} - before
        for event in events(new):
            if event.session_log.status == SessionLog.START:  # what tensorboard purges by
                shown = {k: v for k, v in shown.items() if k < event.step}
            for value in event.summary.value:
                if value.tag == 'loss':
                    assert event.step not in shown
                    shown[event.step] = value.simple_value
        new.rename(new.with_name(f'{i}'))
    assert shown == {10: 5.0, 20: 10.0, 30: 15.0, 40: 20.0}


def test_progress_in_a_plain_terminal(tmp_path, capsys):
    write(tmp_path, 0, [10])
    assert capsys.readouterr().err.startswith('step 10/100  loss 5.0000  ')
