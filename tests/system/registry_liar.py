#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A registry that lies, one way a repository: registry_liar.py PORT. What it does to whom stands in do_GET()."""
import gzip, hashlib, io, json, sys, tarfile, time, zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


def sha(b):
    return "sha256:" + hashlib.sha256(b).hexdigest()


def tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data in files:
            i = tarfile.TarInfo(name)
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    return out.getvalue()


def bomb():
    """A tar of one file of zeros, 3 GiB, compressed to 3 MiB."""
    i = tarfile.TarInfo("zeros")
    i.size = 3 << 30
    c = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = [c.compress(i.tobuf())]
    zeros = bytes(16 << 20)
    for _ in range(3 * 64):
        out.append(c.compress(zeros))
    out.append(c.compress(bytes(1024)))
    out.append(c.flush())
    return b"".join(out)


plain = tar([("hello", b"hello\n" * 1000), ("noise", hashlib.shake_256(b"x").digest(700_000))])
layer = gzip.compress(plain, mtime=0)
config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]},
                     "rootfs": {"type": "layers", "diff_ids": [sha(plain)]}}).encode()
bombs = None


def manifest(config=config, layer=layer, **change):
    m = {"schemaVersion": 2, "mediaType": DOCKER,
         "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": sha(config)},
         "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(layer), "digest": sha(layer)}]}
    for path, value in change.items():
        o = m
        *way, last = path.split("__")
        for w in way:
            o = o[int(w)] if w.isdigit() else o[w]
        o[last] = value
    return json.dumps(m).encode()


MANIFESTS = {
    "not-json": b"{\"schemaVersion\": 2, ",
    "no-object": b"[1, 2]",
    "schema1": b"{\"schemaVersion\": 1, \"fsLayers\": []}",
    "helm": manifest(config__mediaType="application/vnd.cncf.helm.config.v1+json"),
    "odd-layer": manifest(layers__0__mediaType="text/html"),
    "negative-size": manifest(layers__0__size=-5),
    "bad-digest": manifest(layers__0__digest="sha256:../../../../etc/passwd"),
    "two-layers": manifest(layers=[json.loads(manifest())["layers"][0]] * 2),
    "both": json.dumps({**json.loads(manifest()), "manifests": []}).encode(),
    "nested": json.dumps({"schemaVersion": 2, "manifests": [{"digest": "NESTED", "size": 1, "mediaType": DOCKER, "platform": {"os": "linux", "architecture": "amd64"}}]}).encode(),
    "deep": b"{\"a\":" * 5000 + b"1" + b"}" * 5000,
    "big": b"{\"schemaVersion\": 2, \"x\": \"" + b"a" * (5 << 20) + b"\"}",
    "short-config": manifest(config__size=10),
    "long-config": manifest(config__size=len(config) + 10),
    "wrong-config": manifest(config__digest=sha(b"something else")),
    "short-layer": manifest(layers__0__size=len(layer) - 100),
    "long-layer": manifest(layers__0__size=len(layer) + 100),
    "other-diff": manifest(config=config.replace(sha(plain).encode(), sha(b"no").encode())),
}
counts = {}


class Liar(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def say(self, status, body=b"", **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def nth(self, what):
        counts[what] = counts.get(what, 0) + 1
        return counts[what]

    def do_GET(self):
        path = self.path
        if path in ("/v2/", "/v2"):
            return self.say(200, b"{}")
        if path.startswith("/token"):
            # the account "user"/"secret" gets one that runs out after the manifest
            ok = self.headers.get("Authorization") == "Basic dXNlcjpzZWNyZXQ="
            n = self.nth("token")
            if "garbage" in path:
                return self.say(200, b"this is no token")
            return self.say(200, json.dumps({"token": f"t{n}"}).encode()) if ok else self.say(401, b'{"details":"incorrect username or password"}')
        repo, kind, ref = path[4:].rsplit("/", 2)
        getattr(self, "get_" + kind)(repo, ref)

    do_HEAD = do_GET

    def get_manifests(self, repo, ref):
        if repo == "deny":
            return self.say(403, b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}')
        if repo.startswith("tok"):
            realm = f"http://{self.headers['Host']}/token{'garbage' if repo == 'tok-garbage' else ''}"
            have = self.headers.get("Authorization", "")
            if not have.startswith("Bearer t"):
                return self.say(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
                                WWW_Authenticate=f'Bearer realm="{realm}",service="liar",scope="repository:{repo}:pull"')
        if repo == "busy" and self.nth("busy") <= 1:
            return self.say(429, b"", Retry_After="1")
        if repo == "down":
            return self.say(503, b"")
        if repo == "loop":
            return self.say(307, b"", Location=self.path)
        if repo == "headers":
            self.send_response(200)
            for i in range(2000):
                self.send_header(f"X-{i}", "a" * 100)
            self.end_headers()
            return
        body = MANIFESTS.get(repo, None)
        if repo == "pinned":
            body = manifest() + b" "
        if repo.startswith("bomb"):
            global bombs
            if bombs is None:
                bombs = bomb()
            body = manifest(layer=bombs)
        if body is None:
            body = manifest()
        if b"NESTED" in body:
            inner = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
            if ref == sha(inner):
                body = inner
            else:
                body = body.replace(b"NESTED", sha(inner).encode())
        self.say(200, body, Content_Type=DOCKER)

    def get_blobs(self, repo, ref):
        body = bombs if repo.startswith("bomb") and bombs and ref == sha(bombs) else config if ref == sha(config) or (repo == "wrong-config" and ref != sha(layer)) else layer
        if repo == "other-diff" and ref != sha(layer):
            body = config.replace(sha(plain).encode(), sha(b"no").encode())
        is_layer = body is layer
        if repo == "tok" and is_layer and self.nth("tok-layer") == 1:
            return self.say(401, b"", WWW_Authenticate=f'Bearer realm="http://{self.headers["Host"]}/token",service="liar",scope="repository:tok:pull"')
        if repo == "flip" and is_layer:
            body = bytearray(body)
            body[-3] ^= 1
            return self.say(200, bytes(body))
        if repo == "flip-middle" and is_layer:
            body = bytearray(body)
            body[len(body) // 2] ^= 1
            return self.say(200, bytes(body))
        if repo == "gone" and is_layer:
            return self.say(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}')
        if repo == "nowhere" and is_layer:
            return self.say(307, b"", Location="http://127.0.0.1:9/nothing")
        if repo == "file" and is_layer:
            return self.say(307, b"", Location="file:///etc/passwd")
        if repo == "down-layer" and is_layer:
            return self.say(500, b"")
        if repo == "endless" and is_layer:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            data = layer
            try:
                while True:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                    data = bytes(65536)
            except OSError:
                return
        cut = {"cut": 1, "cut-norange": 1, "cut-always": 99, "cut-badrange": 1}.get(repo)
        if cut and is_layer:
            at = 0
            rng = self.headers.get("Range")
            if rng and repo != "cut-norange":
                at = int(rng[6:].rstrip("-"))
            if self.nth(repo) <= cut:
                self.send_response(206 if at else 200)
                self.send_header("Content-Length", str(len(body) - at))
                if at:
                    self.send_header("Content-Range", f"bytes {at}-{len(body) - 1}/{len(body)}")
                self.end_headers()
                # cut-always brings nothing new from its second time on
                if repo != "cut-always" or not at:
                    self.wfile.write(body[at:at + len(body) // 2])
                self.close_connection = True
                return
            if at and repo == "cut-badrange":
                return self.say(206, body[5:], Content_Range=f"bytes {at + 5}-{len(body) - 1}/{len(body)}")
            if at:
                return self.say(206, body[at:], Content_Range=f"bytes {at}-{len(body) - 1}/{len(body)}")
        if repo == "slow" and is_layer:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:1000])
            self.wfile.flush()
            try:
                while True:
                    time.sleep(0.2)
                    self.wfile.write(b"")
                    if self.connection.recv(1) == b"":
                        break
            except OSError:
                pass
            self.close_connection = True
            return
        self.say(200, body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass	# the client hangs up on lies


Server(("127.0.0.1", int(sys.argv[1])), Liar).serve_forever()
