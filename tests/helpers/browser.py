"""A headless Chromium that a test drives: Chrome's protocol over a pair of pipes.

with browser(tmp_path) as chrome:
    chrome.open('http://127.0.0.1:7860')
    chrome.upload('input[type=file]', path)
    chrome.wait("document.querySelector('table')")
    assert not chrome.complaints
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('chrome')


class Chrome:
    """One page. ``requests``: every address it asked for. ``complaints``: errors of its console."""

    def __init__(self, to, back):
        self.to, self.back, self.rest, self.count = to, back, b'', 0
        self.requests, self.complaints, self.session = [], [], None
        target = self.ask('Target.createTarget', url='about:blank')['targetId']
        attached = self.ask('Target.attachToTarget', targetId=target, flatten=True)
        self.session = attached['sessionId']
        for domain in ('Page', 'Runtime', 'Network', 'DOM', 'Log'):
            self.ask(f'{domain}.enable')

    def ask(self, method, **params):
        """The result of one command; events that come meanwhile are noted."""
        self.count += 1
        message = dict(id=self.count, method=method, params=params)
        if self.session:
            message['sessionId'] = self.session
        os.write(self.to, json.dumps(message).encode() + b'\0')
        end = time.monotonic() + 60
        while time.monotonic() < end:
            answer = self._next(end)
            if answer.get('id') == self.count:
                assert 'error' not in answer, (method, answer['error'])
                return answer['result']
        raise TimeoutError(method)

    def _next(self, end):
        while b'\0' not in self.rest:
            ready, _, _ = select.select([self.back], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError('the browser does not answer')
            read = os.read(self.back, 1 << 20)
            assert read, 'the browser has ended'
            self.rest += read
        line, _, self.rest = self.rest.partition(b'\0')
        event = json.loads(line)
        params = event.get('params', {})
        if event.get('method') == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
        if event.get('method') == 'Runtime.exceptionThrown':
            self.complaints.append(params['exceptionDetails'].get('exception', params))
        if event.get('method') == 'Log.entryAdded' and params['entry']['level'] == 'error':
            self.complaints.append(params['entry'].get('url', '') + ' ' + params['entry']['text'])
        return event

    def open(self, address):
        self.ask('Page.navigate', url=address)

    def value(self, expression):
        """What a JavaScript expression gives; a promise is waited for."""
        asked = dict(expression=expression, returnByValue=True, awaitPromise=True)
        done = self.ask('Runtime.evaluate', **asked)
        assert 'exceptionDetails' not in done, done
        return done['result'].get('value')

    def wait(self, expression, seconds=30):
        """Its value once it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.value(
                f'(() => {{ const seen = {expression}; return seen instanceof Node || seen }})()'
            )
            if value:
                return value
            time.sleep(0.05)
        raise TimeoutError(f'{expression}; the page: {self.value("document.body.innerText")}')

    def upload(self, selector, path):
        root = self.ask('DOM.getDocument')['root']['nodeId']
        node = self.ask('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.ask('DOM.setFileInputFiles', nodeId=node, files=[str(path)])

    def download(self, element, folder, seconds=20):
        """The file that a click on ``element`` (JavaScript) brings."""
        folder.mkdir()
        self.ask('Browser.setDownloadBehavior', behavior='allow', downloadPath=str(folder))
        self.value(f'{element}.click()')
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if done := [path for path in folder.iterdir() if not path.name.startswith('.')
                        and path.suffix != '.crdownload']:  # fmt: skip
                return done[0]
            time.sleep(0.05)
        raise TimeoutError(f'{element}: nothing in {folder}')

    def size(self, width, height, mobile=False):
        shape = dict(width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.ask('Emulation.setDeviceMetricsOverride', **shape)

    def screenshot(self, path):
        whole = self.ask('Page.captureScreenshot', captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(whole['data']))


@contextmanager
def browser(folder):
    """A ``Chrome`` with a profile of its own below ``folder``."""
    read, to = os.pipe()
    back, write = os.pipe()
    command = [
        CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe',
        '--no-first-run', '--disable-background-networking', f'--user-data-dir={folder}/profile',
    ]  # fmt: skip
    # The browser reads commands from its file 3 and answers on 4.
    shell = f'exec "$@" 3<&{read} 4>&{write}'
    child = subprocess.Popen(
        ['bash', '-c', shell, 'bash', *command],
        pass_fds=(read, write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read)
    os.close(write)
    try:
        yield Chrome(to, back)
    finally:
        child.terminate()
        child.wait(20)
        os.close(to)
        os.close(back)
