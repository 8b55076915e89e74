#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docker's Python SDK, as Debian has it, against the socket.
. "$(dirname "$0")/lib.sh"

py=/usr/bin/python3
$py -c 'import docker' 2>/dev/null || py=python3
$py -c 'import docker' 2>/dev/null || skip "python3-docker is not installed"
engine_start
need_image busybox
export DOCKER_HOST=unix://$sock

rc=0
$py "$srcdir_top/tests/system/sdk.py" >"$tmp/sdk.out" 2>&1 || rc=$?
cat "$tmp/sdk.out"
[ $rc = 0 ] || failures=$((failures + 1))
