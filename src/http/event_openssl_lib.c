/* SPDX-License-Identifier: Apache-2.0 */
/* libevent's part for OpenSSL, see dylib.h. */
#include "base/dylib.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/ssl.h>

#define EVENT_FUNCTIONS(F, V) \
	F(unsigned long, bufferevent_get_openssl_error, (struct bufferevent *a), (a), 0) \
	F(struct ssl_st *, bufferevent_openssl_get_ssl, (struct bufferevent *a), (a), NULL) \
	V(bufferevent_openssl_set_allow_dirty_shutdown, (struct bufferevent *a, int b), (a, b)) \
	F(struct bufferevent *, bufferevent_openssl_socket_new, (struct event_base *a, int b, struct ssl_st *c, enum bufferevent_ssl_state d, int e), (a, b, c, d, e), NULL)

DYLIB(event, "libevent_openssl-2.1.so.7", EVENT_FUNCTIONS)

#define EVENT_F(...) DYLIB_DEFINE_F(event, __VA_ARGS__)
#define EVENT_V(...) DYLIB_DEFINE_V(event, __VA_ARGS__)

EVENT_FUNCTIONS(EVENT_F, EVENT_V)
