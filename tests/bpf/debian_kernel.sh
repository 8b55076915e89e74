#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every BPF program, shown to the verifier of Debian 12's own kernel (6.1), which knows less than newer ones do.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest_lib.sh"
guest_program "$build/tests/bpf/verify"
guest_run <<'TEXT'
ASAN_OPTIONS=detect_leaks=0 /verify >/out 2>&1
rc=$?
/bin/busybox tail -n 40 /out
echo "STATUS $rc"
TEXT
grep -qx 'STATUS 0' "$dir/console"
