"""A stand-in for Google Cloud Storage: one store in memory, for fsspec (small files) and, over HTTP, for tensorstore.

It has what makes a bucket unlike a disk: no appending, no locks, objects that appear whole, folders only in names.
"""

import contextlib
import json
import os
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem


class Bucket(MemoryFileSystem):
    """What gcsfs would be."""

    store, pseudo_dirs, protocol, cachable = {}, [''], ('gs', 'gcs'), True

    @classmethod
    def _strip_protocol(cls, path):
        path = str(path).removeprefix('gs://').removeprefix('gcs://').strip('/')
        return f'/{path}' if path else ''

    def _open(self, path, mode='rb', **kwargs):
        assert mode in ('rb', 'wb'), 'a bucket has no appending'
        return super()._open(path, mode, **kwargs)


class Handler(BaseHTTPRequestHandler):
    """The JSON API as far as tensorstore uses it."""

    protocol_version = 'HTTP/1.1'
    lock = threading.Lock()
    generations: dict[str, int] = {}  # noqa: RUF012

    def log_message(self, *_):
        pass

    def answer(self, code, body=b'', **headers):
        self.send_response(code)
        for name, value in {'Content-Length': len(body), **headers}.items():
            self.send_header(name.replace('_', '-'), str(value))
        self.end_headers()
        self.wfile.write(body)

    def asked(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        bucket, _, name = url.path.split('/b/')[1].partition('/o')
        return bucket, urllib.parse.unquote(name.strip('/')) or query.get('name'), query

    def refused(self, key, query):
        wanted = query.get('ifGenerationMatch')
        return wanted is not None and int(wanted) != (self.generations.get(key, 1) if key in Bucket.store else 0)

    def resource(self, key):
        bucket, name = key[1:].split('/', 1)
        data = {'kind': 'storage#object', 'bucket': bucket, 'name': name, 'generation': str(self.generations[key])}
        return {**data, 'size': str(len(Bucket.store[key].getvalue())), 'updated': '2026-01-01T00:00:00Z'}

    def do_GET(self):
        bucket, name, query = self.asked()
        with self.lock:
            if name is None:
                prefix = f'/{bucket}/{query.get("prefix", "")}'
                items = [self.resource(key) for key in sorted(Bucket.store) if key.startswith(prefix)]
                self.answer(200, json.dumps({'kind': 'storage#objects', 'items': items}).encode())
                return
            key = f'/{bucket}/{name}'
            if key not in Bucket.store:
                self.answer(404, b'{}')
                return
            data, generation = Bucket.store[key].getvalue(), self.generations.setdefault(key, 1)
        if 'alt' not in query:
            self.answer(200, json.dumps(self.resource(key)).encode())
            return
        if 'Range' in self.headers:
            first, last = self.headers['Range'].removeprefix('bytes=').split('-')
            last = min(int(last or len(data) - 1), len(data) - 1)
            span = f'bytes {first}-{last}/{len(data)}'
            self.answer(206, data[int(first) : last + 1], Content_Range=span, x_goog_generation=generation)
            return
        self.answer(200, data, x_goog_generation=generation)

    def do_POST(self):
        bucket, name, query = self.asked()
        data, key = self.rfile.read(int(self.headers['Content-Length'])), f'/{bucket}/{name}'
        with self.lock:
            if self.refused(key, query):
                self.answer(412, b'{}')
                return
            self.generations[key] = self.generations.get(key, 0) + 1
            Bucket.store[key] = MemoryFile(Bucket(), key, data)
            self.answer(200, json.dumps(self.resource(key)).encode())

    def do_DELETE(self):
        bucket, name, _ = self.asked()
        with self.lock:
            if Bucket.store.pop(f'/{bucket}/{name}', None) is None:
                self.answer(404, b'{}')
                return
            self.answer(204)


@contextlib.contextmanager
def served():
    """Puts it where gs:// paths lead; yields its dict of objects."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {
        'TENSORSTORE_GCS_HTTP_URL': f'http://127.0.0.1:{server.server_port}',
        'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'none',
        'EPATH_USE_TF': 'false',
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    for name in Bucket.protocol:
        fsspec.register_implementation(name, Bucket, clobber=True)
    try:
        yield Bucket.store
    finally:
        server.shutdown()
        server.server_close()
        Bucket.store.clear()
        Handler.generations.clear()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
