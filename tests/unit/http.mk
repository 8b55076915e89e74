if HAVE_CMOCKA
http_tests = tests/unit/http_server tests/unit/http_stream tests/unit/http_client
check_PROGRAMS += $(http_tests)
TESTS += $(http_tests)
http_test_libs = libhttp.a libloop.a libbase.a $(CMOCKA_LIBS) $(EVENT_LIBS) $(OPENSSL_LIBS) $(HTTP_PARSER_LIBS) $(JANSSON_LIBS)
http_test_peer = tests/unit/http_peer.c tests/unit/http_peer.h
tests_unit_http_server_SOURCES = tests/unit/http_server.c $(http_test_peer)
tests_unit_http_server_LDADD = $(http_test_libs)
tests_unit_http_stream_SOURCES = tests/unit/http_stream.c $(http_test_peer)
tests_unit_http_stream_LDADD = $(http_test_libs)
tests_unit_http_client_SOURCES = tests/unit/http_client.c $(http_test_peer)
tests_unit_http_client_LDADD = $(http_test_libs)
endif
