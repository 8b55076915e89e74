#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks live replies of an engine against the Engine API's OpenAPI document.

usage: api_shapes.py SPEC.yaml SOCKET < list of "METHOD PATH OPERATION-PATH STATUS" lines
Each line: the request to send, the path as the document names it, and the status whose schema applies.
Prints ok / not ok per line; exit status 1 when one failed.
"""
import http.client
import json
import socket
import sys

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
    for line in sys.stdin:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        method, path, op, status = words
        name = f"{method} {path} has the shape of {op} {status}"
        conn = UnixConnection(sys.argv[2])
        conn.request(method, path)
        reply = conn.getresponse()
        text = reply.read()
        try:
            if reply.status != int(status):
                raise ValueError(f"status {reply.status}: {text[:300]!r}")
            response = spec["paths"][op][method.lower()]["responses"][int(status)] if int(status) in \
                spec["paths"][op][method.lower()]["responses"] else spec["paths"][op][method.lower()]["responses"][status]
            schema = response.get("schema")
            if schema and "json" in (reply.headers.get("Content-Type") or ""):
                schema = dict(nullable(schema))
                schema["definitions"] = definitions
                jsonschema.validate(json.loads(text), schema)
            print(f"ok - {name}")
        except (ValueError, KeyError, jsonschema.ValidationError) as e:
            failed += 1
            message = e.message if isinstance(e, jsonschema.ValidationError) else str(e)
            where = "/".join(str(p) for p in e.absolute_path) if isinstance(e, jsonschema.ValidationError) else ""
            print(f"not ok - {name}\n    at '{where}': {message[:400]}")
    return 1 if failed else 0


sys.exit(main())
