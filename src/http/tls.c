/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/err.h>

#include "http/http_priv.h"

static SSL_CTX *fail(SSL_CTX *ctx, struct err *e, const char *what, const char *path)
{
	unsigned long code = ERR_peek_last_error();
	const char *why = ERR_reason_error_string(code);

	err_set(e, ERR_INVALID, "cannot use the %s %s: %s", what, path ? path : "(none given)", why ? why : "unreadable");
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return NULL;
}

static SSL_CTX *common(const SSL_METHOD *method, const struct http_tls *t, struct err *e)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	ERR_clear_error();
	if (!ctx)
		return fail(NULL, e, "TLS library", "");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (!t->ca || SSL_CTX_load_verify_locations(ctx, t->ca, NULL) != 1)
		return fail(ctx, e, "certificate authority", t->ca);
	if (t->cert && SSL_CTX_use_certificate_chain_file(ctx, t->cert) != 1)
		return fail(ctx, e, "certificate", t->cert);
	if (t->key && SSL_CTX_use_PrivateKey_file(ctx, t->key, SSL_FILETYPE_PEM) != 1)
		return fail(ctx, e, "private key", t->key);
	if (t->key && SSL_CTX_check_private_key(ctx) != 1)
		return fail(ctx, e, "private key (it is not the certificate's)", t->key);
	return ctx;
}

SSL_CTX *http_tls_server(const struct http_tls *t, struct err *e)
{
	SSL_CTX *ctx;

	if (!t->ca || !t->cert || !t->key) {
		err_set(e, ERR_INVALID, "TLS needs a certificate authority, a certificate and a key");
		return NULL;
	}
	ctx = common(TLS_server_method(), t, e);
	if (!ctx)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(t->ca));
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"kedge", 5);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	return ctx;
}

SSL_CTX *http_tls_client(const struct http_tls *t, struct err *e)
{
	SSL_CTX *ctx = common(TLS_client_method(), t, e);

	if (ctx)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return ctx;
}
