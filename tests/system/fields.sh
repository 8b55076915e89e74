#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every field of a create request has its effect, or is refused by name: the proofs of tests/api-table.txt.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
rc=0
python3 "$srcdir_top/tests/system/fields.py" "$sock" "$tmp/proofs" "$id" >"$tmp/out" 2>&1 || rc=$?
cat "$tmp/out"
[ $rc = 0 ] || failures=$((failures + 1))
