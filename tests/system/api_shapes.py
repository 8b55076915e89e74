#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks live replies of an engine against the Engine API's OpenAPI document.

usage: api_shapes.py SPEC.yaml SOCKET [PREFIX...] < list of "METHOD PATH OPERATION-PATH STATUS [BODY]" lines
Each line: the request to send, the path as the document names it, the status whose schema applies, and a JSON body or "@FILE".
With PREFIXes every status that the document lists for an operation below them must be met by some line, except 500, and except the 200 of
an attach by websocket, which cannot be without an upgrade.
Prints ok / not ok per line; exit status 1 when one failed.
"""
import http.client
import json
import socket
import sys
import time

import jsonschema
import yaml


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


def nullable(node):
    """OpenAPI 2 with x-nullable, and Go's habit of null for empty lists and maps."""
    if isinstance(node, dict):
        node = {k: nullable(v) for k, v in node.items() if k not in ("example", "examples", "discriminator")}
        if node.get("x-nullable") or node.get("type") in ("array", "object"):
            if isinstance(node.get("type"), str):
                node["type"] = [node["type"], "null"]
            elif "$ref" in node:
                node = {"anyOf": [{"$ref": node["$ref"]}, {"type": "null"}]}
            if "enum" in node:
                node["enum"] = node["enum"] + [None]
        return node
    if isinstance(node, list):
        return [nullable(v) for v in node]
    return node


def main():
    with open(sys.argv[1]) as f:
        spec = yaml.safe_load(f)
    definitions = nullable(spec["definitions"])
    failed = 0
    met = set()
    for line in sys.stdin:
        words = line.split(None, 4)
        if not words or words[0].startswith("#"):
            continue
        method, path, op, status = words[:4]
        body = words[4].strip() if len(words) > 4 else None
        met.add((method, op, int(status)))
        name = f"{method} {path} has the shape of {op} {status}"
        conn = UnixConnection(sys.argv[2])
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"} if status == "101" else {}
        if op.endswith("/ws") and status == "101":
            headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        if body and body.startswith("@"):
            headers["Content-Type"] = "application/x-tar"
            with open(body[1:], "rb") as f:
                body = f.read()
        elif body:
            headers["Content-Type"] = "application/json"
        began = time.monotonic()
        conn.request(method, path, body, headers)
        reply = conn.getresponse()
        text = b"" if reply.status == 101 else reply.read()
        try:
            if reply.status != int(status):
                raise ValueError(f"status {reply.status}: {text[:300]!r}")
            response = spec["paths"][op][method.lower()]["responses"][int(status)] if int(status) in \
                spec["paths"][op][method.lower()]["responses"] else spec["paths"][op][method.lower()]["responses"][status]
            schema = response.get("schema")
            if reply.status >= 400 and method != "HEAD":
                message = json.loads(text)["message"]
                if not message or message != message.strip():
                    raise ValueError(f"the message is {message!r}")
            if schema and text and "json" in (reply.headers.get("Content-Type") or ""):
                schema = dict(nullable(schema))
                schema["definitions"] = definitions
                # Not jsonschema.validate(): that checks the whole document's own shape each time.
                jsonschema.Draft7Validator(schema).validate(json.loads(text))
            took = time.monotonic() - began
            print(f"ok - {name}" + (f" ({took:.1f} s)" if took > 1 else ""))
        except (ValueError, KeyError, jsonschema.ValidationError) as e:
            failed += 1
            message = e.message if isinstance(e, jsonschema.ValidationError) else str(e)
            where = "/".join(str(p) for p in e.absolute_path) if isinstance(e, jsonschema.ValidationError) else ""
            print(f"not ok - {name}\n    at '{where}': {message[:400]}")
    for op, methods in spec["paths"].items():
        if not any(op == p or op.startswith(p + "/") for p in sys.argv[3:]):
            continue
        for method, about in methods.items():
            for status in about.get("responses", {}):
                if int(status) != 500 and (op, int(status)) != ("/containers/{id}/attach/ws", 200) and (method.upper(), op, int(status)) not in met:
                    failed += 1
                    print(f"not ok - nothing asks {method.upper()} {op} for its {status}")
    return 1 if failed else 0


sys.exit(main())
