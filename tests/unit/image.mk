if HAVE_CMOCKA
IMAGE_TEST_LIBS = libimage.a libstore.a libloop.a libbase.a $(CMOCKA_LIBS) $(IMAGE_LIBS) $(SQLITE_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS)
IMAGE_TESTS = tests/unit/image_ref tests/unit/image_unpack tests/unit/image_load tests/unit/image_create tests/unit/image_registry tests/unit/image_kill
check_PROGRAMS += $(IMAGE_TESTS)
TESTS += $(IMAGE_TESTS)
tests_unit_image_ref_SOURCES = tests/unit/image_ref.c
tests_unit_image_ref_LDADD = $(IMAGE_TEST_LIBS)
tests_unit_image_unpack_SOURCES = tests/unit/image_unpack.c tests/unit/image_tar.c tests/unit/image_tar.h
tests_unit_image_unpack_LDADD = $(IMAGE_TEST_LIBS)
tests_unit_image_load_SOURCES = tests/unit/image_load.c tests/unit/image_bench.c tests/unit/image_bench.h tests/unit/image_tar.c tests/unit/image_tar.h
tests_unit_image_load_LDADD = $(IMAGE_TEST_LIBS)
tests_unit_image_registry_SOURCES = tests/unit/image_registry.c
tests_unit_image_registry_LDADD = $(IMAGE_TEST_LIBS)
tests_unit_image_create_SOURCES = tests/unit/image_create.c tests/unit/image_bench.c tests/unit/image_bench.h tests/unit/image_tar.c tests/unit/image_tar.h
tests_unit_image_create_LDADD = $(IMAGE_TEST_LIBS)
tests_unit_image_kill_SOURCES = tests/unit/image_kill.c tests/unit/image_bench.c tests/unit/image_bench.h tests/unit/image_tar.c tests/unit/image_tar.h
tests_unit_image_kill_LDADD = $(IMAGE_TEST_LIBS)
endif
