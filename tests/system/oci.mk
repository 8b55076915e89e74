TESTS += tests/system/oci_conformance.sh
EXTRA_DIST += tests/system/oci_conformance.sh tests/system/oci_conformance.py
