"""A program of milliseconds, for tests of what starts programs: `--KIND=.. --out=FOLDER`, and how it shall end.

It notes every start, and, unless it is a training, writes a table, a picture, a film, a sound and a text.
"""

import io
import os
import signal
import sys
import time
import wave
from pathlib import Path

WAIT = 30  # seconds; nobody waits so long
TABLE = """# Stub

| clips | network evaluations | by the law, % |
|---|---|---|
| real |  | 99.5 ± 0.5 |
| ddim-50 | 50 | 61.0 ± 3.0 |

![a picture](own.png)
"""


def sound() -> bytes:
    with io.BytesIO() as opened:
        with wave.open(opened, 'wb') as file:
            file.setparams((1, 2, 8000, 0, 'NONE', ''))
            file.writeframes(bytes(range(256)) * 16)
        return opened.getvalue()


def write(out: Path) -> None:
    from PIL import Image

    pages = [Image.new('L', (6, 4), value) for value in (0, 90, 255)]
    for name in ('own.png', 'more.png'):
        pages[len(name) % 3].save(out / name)
    pages[0].save(out / 'clip.gif', save_all=True, append_images=pages[1:], duration=50, loop=0)
    (out / 'seven.wav').write_bytes(sound())
    (out / 'said.txt').write_text('to be <b>or</b> not\n# to be\n')
    (out / 'table.md').write_text(TABLE)


def main(given: dict[str, str]) -> None:
    out = Path(given['out'])
    out.mkdir(parents=True, exist_ok=True)
    with (out / 'starts').open('a') as file:
        file.write(given['kind'] + '\n')
    print(f'this is {given["kind"]}', flush=True)
    while time.process_time() < float(given.get('cpu', 0)):
        continue
    if 'stop' in given and not (out / 'stopped').exists():
        (out / 'stopped').touch()
        os.kill(os.getppid(), signal.SIGTERM)  # as a scheduler stops the command that started this
        time.sleep(WAIT)
    if 'fail' in given:
        print('error: there is no such thing', file=sys.stderr)
        sys.exit(2)
    if given['kind'] != 'train':
        write(out)


if __name__ == '__main__':
    main(dict(argument.removeprefix('--').split('=', 1) for argument in sys.argv[1:]))
