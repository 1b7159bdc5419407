#!/usr/bin/env python3
"""A server of images that behaves in every way that servers do: image_server.py FOLDER PORT-FILE LOG [CERTIFICATE]

FOLDER holds the files; the first part of a path says how one is served, its last part which. The port goes into
PORT-FILE when it listens. LOG gets a line per request: METHOD PATH range=... if-range=... agent=... auth=...
With a CERTIFICATE (with its key) it speaks https. While there is a file `hold` in FOLDER, what drips stops after a third.
"""
import hashlib
import http.server
import os
import ssl
import sys
import threading
import time

folder, port_file, log_file = sys.argv[1:4]
certificate = sys.argv[4] if len(sys.argv) > 4 else None
counts = {}
lock = threading.Lock()
PIECE = 64 * 1024


def times_before(path):
    with lock:
        counts[path] = counts.get(path, 0) + 1
        return counts[path] - 1


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def note(self):
        h = self.headers
        with lock, open(log_file, "a") as log:
            log.write(
                f"{self.command} {self.path} range={h.get('Range', '')} if-range={h.get('If-Range', '')} "
                f"agent={h.get('User-Agent', '')} auth={h.get('Authorization', '')}\n"
            )

    def head(self, status, length, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def start_of_range(self, data, etag):
        """Where to begin; 0: all of it."""
        wanted = self.headers.get("Range", "")
        if_range = self.headers.get("If-Range")
        if not wanted.startswith("bytes=") or (if_range is not None and if_range != etag):
            return 0
        return int(wanted[len("bytes=") :].split("-")[0])

    def serve(self, data, etag, send=None):
        """As a good server does, but for `send`, which gets the bytes to send."""
        start = self.start_of_range(data, etag)
        headers = {"ETag": etag} if etag else {}
        if start >= len(data) and start:
            return self.head(416, 0, Content_Range=f"bytes */{len(data)}")
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.head(206 if start else 200, len(data) - start, **headers)
        (send or self.wfile.write)(data[start:])

    def drip(self, data):
        for at in range(0, len(data), PIECE):
            while at > len(data) // 3 and os.path.exists(os.path.join(folder, "hold")):
                time.sleep(0.03)
            self.wfile.write(data[at : at + PIECE])
            time.sleep(0.03)

    def stall(self, data):
        self.wfile.write(data[: len(data) // 3])
        self.wfile.flush()
        time.sleep(3600)

    def cut(self, data):
        self.wfile.write(data[: len(data) // 2])

    def do_GET(self):
        self.note()
        parts = self.path.split("?")[0].strip("/").split("/")
        how, name = parts[0], parts[-1]
        try:
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
        except OSError:
            return self.head(404, 0)
        etag = '"' + hashlib.sha256(data).hexdigest()[:16] + '"'
        try:
            self.behave(how, parts, name, data, etag)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def behave(self, how, parts, name, data, etag):
        if how == "plain":
            self.serve(data, etag)
        elif how == "noetag":
            self.serve(data, None)
        elif how == "norange":
            self.head(200, len(data), ETag=etag)
            self.wfile.write(data)
        elif how == "weak":
            self.serve(data, "W/" + etag)
        elif how == "drip":
            self.serve(data, etag, self.drip)
        elif how == "cut":  # in the middle, the first two times
            self.serve(data, etag, self.cut if times_before(self.path) < 2 else None)
        elif how == "cut-noetag":
            self.serve(data, None, self.cut if times_before(self.path) < 2 else None)
        elif how == "dead":  # never a byte of it
            self.serve(data, etag, lambda rest: None)
        elif how == "stall":
            self.serve(data, etag, self.stall)
        elif how == "endless":
            self.head(200, None)
            while True:
                self.wfile.write(data)
        elif how == "long":
            self.head(200, len(data) * 2, ETag=etag)
            self.wfile.write(data)
        elif how == "short":
            self.head(200, len(data) // 2, ETag=etag)
            self.wfile.write(data)
        elif how == "huge":
            self.head(200, 1 << 50, ETag=etag)
            self.wfile.write(data)
        elif how == "wrong-range":  # from another place than it was asked for
            start = self.start_of_range(data, etag)
            if not start:
                return self.serve(data, etag)
            self.head(206, len(data) - 1, Content_Range=f"bytes 1-{len(data) - 1}/{len(data)}", ETag=etag)
            self.wfile.write(data[1:])
        elif how == "status":
            self.head(int(parts[1]), 5)
            self.wfile.write(b"sorry")
        elif how == "page":
            self.head(200, 26, Content_Type="text/html")
            self.wfile.write(b"<html>please log in</html>")
        elif how == "loop":
            self.head(302, 0, Location=self.path)
        elif how == "hop":  # /hop/N/NAME: N redirects, then it is served
            n = int(parts[1])
            self.head(302, 0, Location=f"/hop/{n - 1}/{name}" if n > 1 else f"/plain/{name}")
        elif how == "to":  # /to/SCHEME/PORT/NAME
            place = f"/plain/{name}" if parts[1] != "file" else os.path.join(folder, name)
            host = f"127.0.0.1:{parts[2]}" if parts[1] != "file" else ""
            self.head(301, 0, Location=f"{parts[1]}://{host}{place}")
        else:
            self.head(404, 0)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(port_file + "~", "w") as f:
    f.write(f"{server.server_address[1]}\n")
os.rename(port_file + "~", port_file)
server.serve_forever()
