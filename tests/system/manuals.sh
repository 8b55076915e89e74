#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The manual pages know every command and every flag of the daemon; every command has its help.
. "$(dirname "$0")/lib.sh"

in_manual() { grep -qF -- "${2//-/\\-}" "$srcdir_top/$1" || { echo "$1 does not name $2"; return 1; }; }
words() { sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p'; }

for c in $("$builddir/kedge" --help | words); do
	check "kedge.1 has $c" in_manual src/cli/kedge.1 "$c"
	check "$c has help" sh -c "'$builddir/kedge' $c --help | grep -q '^Usage:'"
done
for g in container image network volume system net dns builder; do
	for c in $("$builddir/kedge" "$g" --help | words); do
		check "$g $c has help" sh -c "'$builddir/kedge' $g $c --help | grep -q '^Usage:'"
	done
done
for f in $("$builddir/kedged" --help | sed -n 's/.* --\([a-z-]*\) .*/\1/p'); do
	check "kedged.8 has --$f" in_manual src/daemon/kedged.8 "--$f"
done
for c in $("$builddir/kedge-runtime" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
	check "kedge-runtime.8 has $c" in_manual src/runtime/kedge-runtime.8 "$c"
done
