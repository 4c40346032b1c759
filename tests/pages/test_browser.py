"""The pages in a real browser, without a screen."""

import json
import shutil
import threading

import pytest

from diffusion_jax.pages import comparison, folder, html, live
from tests.experiments import stub_program
from tests.pages.test_folder import lines, run
from tests.pages.test_pages import measured, picture

pytestmark = pytest.mark.slow
WIDTHS = {'desktop': 1280, 'phone': 500}  # narrower than 500 no window of Chromium is


@pytest.fixture(scope='module')
def browser():
    """Chromium, driven; skipped where it or selenium is not installed."""
    webdriver = pytest.importorskip('selenium.webdriver')
    driver = shutil.which('chromedriver')
    if not (driver and shutil.which('chromium')):
        pytest.skip('chromium and its driver are not installed')
    options = webdriver.ChromeOptions()
    for argument in ('--headless=new', '--no-sandbox', '--disable-gpu'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


def wait(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30).until(lambda _: browser.execute_script(f'return {condition}'))


@pytest.fixture
def runs(tmp_path):
    paths = []
    for name, results in (
        ('a', {'ddim': measured(9, 10.0), 'x': measured(9, 9.5)}),
        ('b', {'ddim': measured(9, 200.0)}),
    ):
        path = run(tmp_path / name, steps=4, log=lines(*({'step': s, 'loss': s / 2} for s in (1, 2))), seed=name)
        (path / 'metrics.json').write_text(json.dumps(results))
        picture(path / 'samples' / 'x.png', 100)
        paths.append(path)
    return paths


@pytest.mark.parametrize('width', WIDTHS.values(), ids=WIDTHS)
def test_a_comparison(browser, runs, width, tmp_path):
    page = tmp_path / 'page.html'
    page.write_text(comparison.page(folder.read_all(runs), 'both'))
    browser.set_window_size(width, 900)
    browser.get(page.as_uri())
    wait(browser, "document.querySelectorAll('.plot .trace').length == 2")
    assert browser.execute_script('return document.documentElement.scrollWidth <= innerWidth')
    column = "[...document.querySelectorAll('table')[1].tBodies[0].rows].map(row => row.cells[2].textContent)"
    head = browser.execute_script("return document.querySelectorAll('table')[1].tHead.rows[0].cells[2]")
    browser.execute_script('arguments[0].click()', head)
    assert browser.execute_script(f'return {column}') == ['9.5', '10', '200']
    browser.execute_script('arguments[0].click()', head)
    assert browser.execute_script(f'return {column}') == ['200', '10', '9.5']
    assert head.get_attribute('aria-sort') == 'descending'
    browser.execute_script("document.querySelector('main img').click()")
    assert browser.execute_script("return document.getElementById('zoomed').open")
    browser.execute_script("document.querySelector('#zoomed img').click()")
    assert not browser.execute_script("return document.getElementById('zoomed').open")
    assert browser.get_log('browser') == []


@pytest.mark.parametrize('width', WIDTHS.values(), ids=WIDTHS)
def test_a_report_with_sounds_and_films(browser, width, tmp_path):
    stub_program.write(tmp_path)
    wide = ''.join(f'a long head number {i} | ' for i in range(20))
    text = f'# T\n\n[seven](seven.wav)\n\n![film](clip.gif)\n\n| {wide}\n{"|---" * 20}|\n| {"1.5 ± 0.5 | " * 20}\n'
    (tmp_path / 'report.md').write_text(text)
    html.beside(tmp_path / 'report.md')
    browser.set_window_size(width, 900)
    browser.get((tmp_path / 'report.html').as_uri())
    wait(browser, "document.querySelector('audio').readyState > 0")
    assert browser.execute_script("return document.querySelector('audio').duration") == pytest.approx(4096 / 2 / 8000)
    assert browser.execute_script("return document.querySelector('img').naturalWidth") == 6
    assert browser.execute_script('return document.documentElement.scrollWidth <= innerWidth')
    assert browser.execute_script("return document.querySelector('.wide').scrollWidth > innerWidth")
    assert browser.get_log('browser') == []


def test_a_run_that_goes_on(browser, runs):
    path = runs[0]
    with live.server(path, '127.0.0.1', 0, 0.2) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            browser.get(f'http://127.0.0.1:{server.server_address[1]}/')
            wait(browser, "document.getElementById('told').textContent.startsWith('step 2 of 4')")
            with (path / 'metrics.jsonl').open('a') as log:
                log.write('{"step": 4, "loss": 7.0}\n')
            picture(path / 'samples' / 'new.png', 5)
            wait(browser, "document.getElementById('told').textContent == 'step 4 of 4, loss 7, done'")
            wait(browser, "document.getElementById('progress').value == 1")
            wait(browser, "document.getElementById('plot-loss').data[0].y.at(-1) == 7")
            wait(browser, "document.querySelectorAll('#newest img').length == 2")
            assert browser.get_log('browser') == []
            server.shutdown()
            thread.join()
            server.server_close()
            wait(browser, "document.getElementById('told').textContent.startsWith('No answer')")
        finally:
            server.shutdown()
