noinst_LIBRARIES += libdns.a
libdns_a_SOURCES = \
	src/dns/cache.c src/dns/cache.h \
	src/dns/conn.c \
	src/dns/dns.c src/dns/dns.h src/dns/dns_priv.h \
	src/dns/forward.c src/dns/forward.h \
	src/dns/hash.h \
	src/dns/hostconf.c src/dns/hostconf.h \
	src/dns/resolve.c \
	src/dns/server.c \
	src/dns/text.c \
	src/dns/transport.c src/dns/transport.h \
	src/dns/wire.c src/dns/wire.h \
	src/dns/zone.c src/dns/zone.h
