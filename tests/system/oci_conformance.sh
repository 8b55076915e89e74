#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kedge-runtime against the OCI runtime specification. KEDGE_OCI_SCHEMAS names the specification's JSON schemas; they are not part of this tree.
. "$(dirname "$0")/lib.sh"

busybox=$(command -v busybox) || skip "busybox-static is not installed"
schemas=${KEDGE_OCI_SCHEMAS:-$srcdir_top/../shared/reference/oci-runtime}
if ! [ -d "$schemas" ] || ! python3 -c 'import jsonschema' 2>/dev/null; then
	echo "without the schemas of the specification: shapes are not checked"
	schemas=-
fi
if ! python3 -W ignore "$srcdir_top/tests/system/oci_conformance.py" "$builddir/kedge-runtime" "$busybox" "$schemas"; then failures=1; fi
