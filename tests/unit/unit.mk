# Unit tests: one cmocka program a file under test, listed in its module's fragment.
include tests/unit/base.mk
include tests/unit/loop.mk
include tests/unit/store.mk
include tests/unit/http.mk
include tests/unit/image.mk
include tests/unit/runtime.mk
include tests/unit/monitor.mk
include tests/unit/dns.mk
include tests/unit/net.mk
include tests/unit/engine.mk
include tests/unit/build.mk
include tests/unit/api.mk
include tests/unit/cli.mk
