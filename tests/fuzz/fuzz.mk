# Fuzz targets: LLVMFuzzerTestOneInput in each file. Without --enable-fuzz a small main runs the corpus, in "make check" too.
include tests/fuzz/http.mk
include tests/fuzz/json.mk
include tests/fuzz/image.mk
include tests/fuzz/build.mk
include tests/fuzz/dns.mk
include tests/fuzz/engine.mk
include tests/fuzz/api.mk
include tests/fuzz/monitor.mk
