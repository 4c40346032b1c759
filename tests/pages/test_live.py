"""The page of a run that goes on."""

import json
import os
import shutil
import socket
import threading
import urllib.error
import urllib.request

import pytest

from diffusion_jax.pages import folder, live
from tests import tiny
from tests.pages.test_folder import lines, run
from tests.pages.test_pages import picture


@pytest.fixture
def served(tmp_path):
    """A run's folder, and what asks its page."""
    path = run(tmp_path / 'r', steps=10, log=lines({'step': 1, 'loss': 2.0}, {'step': 2, 'loss': 1.0}))
    with live.server(path, '127.0.0.1', 0, 1.0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def ask(address, **more):
            request = urllib.request.Request(f'http://127.0.0.1:{server.server_address[1]}/{address}', **more)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read()

        yield path, ask
        server.shutdown()
        thread.join()


def test_it_shows_what_the_folder_holds_by_now(served):
    path, ask = served
    before = json.loads(ask('now.json'))
    assert before['done'] == 0.2
    assert before['curves'][0]['runs'][0]['y'] == [2.0, 1.0]
    with (path / 'metrics.jsonl').open('a') as log:
        log.write('{"step": 5, "loss": 0.5}\n')
    content = picture(path / 'samples' / 'ü 1.png', 3)
    after = json.loads(ask('now.json'))
    assert after['done'] == 0.5
    assert after['curves'][0]['runs'][0]['x'] == [1, 2, 5]
    assert after['told'].startswith('step 5 of 10, loss 0.5')
    assert ask(after['media'][0]['address']) == content
    assert b'<title>r</title>' in ask('')
    assert b'plotly' in ask('plotly.js')[:2000].lower()


def test_a_picture_that_is_written_anew_has_another_address(served):
    path, ask = served
    picture(path / 'samples' / 'x.png', 0)
    first = json.loads(ask('now.json'))['media'][0]['address']
    os.utime(path / 'samples' / 'x.png', (1, 1))
    assert json.loads(ask('now.json'))['media'][0]['address'] != first


@pytest.mark.parametrize(
    'address', ['config.json', 'samples/../config.json', 'samples/%2e%2e/config.json', 'samples/', 'x']
)
def test_nothing_but_the_page_and_its_media_is_given(served, address):
    _, ask = served
    with pytest.raises(urllib.error.HTTPError, match='404'):
        ask(address)


def test_nothing_can_be_sent(served):
    path, ask = served
    before = sorted(path.rglob('*'))
    for method in ('POST', 'PUT', 'DELETE'):
        with pytest.raises(urllib.error.HTTPError, match='501'):
            ask('now.json', data=b'x', method=method)
    assert sorted(path.rglob('*')) == before


def test_a_folder_that_goes_is_told(served):
    path, ask = served
    shutil.rmtree(path)
    assert 'holds no run' in json.loads(ask('now.json'))['told']


def test_the_time_left_is_told_until_the_end(tmp_path):
    log = lines({'step': 4, 'step_seconds': 60.0, 'images_per_second': 32.0})
    told = live.told(folder.read(run(tmp_path / 'r', steps=6, log=log)))
    assert told.startswith('step 4 of 6, 32 samples a second, 0:02:00 left, last told of 0:00:0')
    assert live.told(folder.read(run(tmp_path / 'done', steps=4, log=log))).endswith(', done')


def test_a_port_that_is_taken(tmp_path, capsys):
    path = run(tmp_path / 'r')
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = tiny.refusal(capsys, 'watch', f'--workdir={path}', f'--port={port}')
    assert said == f'cannot serve at 127.0.0.1:{port} (Address already in use): set --port, 0 for any that is free'


def test_only_a_run_is_watched(tmp_path, capsys):
    assert 'holds no run' in tiny.refusal(capsys, 'watch', f'--workdir={tmp_path}')
