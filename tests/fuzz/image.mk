IMAGE_FUZZ = tests/fuzz/image_ref tests/fuzz/image_archive tests/fuzz/image_registry
IMAGE_FUZZ_LIBS = libimage.a libstore.a libloop.a libbase.a $(IMAGE_LIBS) $(SQLITE_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += $(IMAGE_FUZZ)
tests_fuzz_image_ref_SOURCES = tests/fuzz/image_ref.c
tests_fuzz_image_ref_LDADD = $(IMAGE_FUZZ_LIBS)
tests_fuzz_image_archive_SOURCES = tests/fuzz/image_archive.c
tests_fuzz_image_archive_LDADD = $(IMAGE_FUZZ_LIBS)
tests_fuzz_image_registry_SOURCES = tests/fuzz/image_registry.c
tests_fuzz_image_registry_LDADD = $(IMAGE_FUZZ_LIBS)
if FUZZ
tests_fuzz_image_registry_LDFLAGS = -fsanitize=fuzzer
tests_fuzz_image_ref_LDFLAGS = -fsanitize=fuzzer
tests_fuzz_image_archive_LDFLAGS = -fsanitize=fuzzer
else
tests_fuzz_image_registry_SOURCES += tests/fuzz/run.c
tests_fuzz_image_ref_SOURCES += tests/fuzz/run.c
tests_fuzz_image_archive_SOURCES += tests/fuzz/run.c
TESTS += $(IMAGE_FUZZ)
endif
EXTRA_DIST += tests/fuzz/image_registry.corpus tests/fuzz/image_ref.corpus tests/fuzz/image_archive.corpus
