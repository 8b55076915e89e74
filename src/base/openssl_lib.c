/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL, see dylib.h. Users include its own headers; several of the names there are macros for the functions here. */
#include "base/dylib.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define CRYPTO_FUNCTIONS(F, V) \
	V(ERR_clear_error, (void), ()) \
	F(unsigned long, ERR_peek_last_error, (void), (), 0) \
	F(const char *, ERR_reason_error_string, (unsigned long a), (a), NULL) \
	F(int, EVP_Digest, (const void *a, size_t b, unsigned char *c, unsigned int *d, const EVP_MD *e, ENGINE *f), (a, b, c, d, e, f), 0) \
	F(int, EVP_DigestFinal_ex, (EVP_MD_CTX *a, unsigned char *b, unsigned int *c), (a, b, c), 0) \
	F(int, EVP_DigestInit_ex, (EVP_MD_CTX *a, const EVP_MD *b, ENGINE *c), (a, b, c), 0) \
	F(int, EVP_DigestUpdate, (EVP_MD_CTX *a, const void *b, size_t c), (a, b, c), 0) \
	F(int, EVP_EncodeBlock, (unsigned char *a, const unsigned char *b, int c), (a, b, c), 0) \
	V(EVP_MD_CTX_free, (EVP_MD_CTX *a), (a)) \
	F(EVP_MD_CTX *, EVP_MD_CTX_new, (void), (), NULL) \
	F(const EVP_MD *, EVP_sha1, (void), (), NULL) \
	F(const EVP_MD *, EVP_sha256, (void), (), NULL) \
	F(int, X509_STORE_load_file, (X509_STORE *a, const char *b), (a, b), 0) \
	F(int, X509_VERIFY_PARAM_set1_ip_asc, (X509_VERIFY_PARAM *a, const char *b), (a, b), 0)

#define SSL_FUNCTIONS(F, V) \
	F(int, SSL_CTX_check_private_key, (const SSL_CTX *a), (a), 0) \
	F(long, SSL_CTX_ctrl, (SSL_CTX *a, int b, long c, void *d), (a, b, c, d), 0) \
	V(SSL_CTX_free, (SSL_CTX *a), (a)) \
	F(X509_STORE *, SSL_CTX_get_cert_store, (const SSL_CTX *a), (a), NULL) \
	F(int, SSL_CTX_load_verify_locations, (SSL_CTX *a, const char *b, const char *c), (a, b, c), 0) \
	F(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *a), (a), NULL) \
	V(SSL_CTX_set_client_CA_list, (SSL_CTX *a, struct stack_st_X509_NAME *b), (a, b)) \
	F(uint64_t, SSL_CTX_set_options, (SSL_CTX *a, uint64_t b), (a, b), 0) \
	F(int, SSL_CTX_set_session_id_context, (SSL_CTX *a, const unsigned char *b, unsigned int c), (a, b, c), 0) \
	V(SSL_CTX_set_verify, (SSL_CTX *a, int b, SSL_verify_cb c), (a, b, c)) \
	F(int, SSL_CTX_use_PrivateKey_file, (SSL_CTX *a, const char *b, int c), (a, b, c), 0) \
	F(int, SSL_CTX_use_certificate_chain_file, (SSL_CTX *a, const char *b), (a, b), 0) \
	F(long, SSL_ctrl, (SSL *a, int b, long c, void *d), (a, b, c, d), 0) \
	V(SSL_free, (SSL *a), (a)) \
	F(X509_VERIFY_PARAM *, SSL_get0_param, (SSL *a), (a), NULL) \
	F(struct stack_st_X509_NAME *, SSL_load_client_CA_file, (const char *a), (a), NULL) \
	F(SSL *, SSL_new, (SSL_CTX *a), (a), NULL) \
	F(int, SSL_set1_host, (SSL *a, const char *b), (a, b), 0) \
	F(int, SSL_shutdown, (SSL *a), (a), 0) \
	F(const SSL_METHOD *, TLS_client_method, (void), (), NULL) \
	F(const SSL_METHOD *, TLS_server_method, (void), (), NULL)

DYLIB(crypto, "libcrypto.so.3", CRYPTO_FUNCTIONS)
DYLIB(ssl, "libssl.so.3", SSL_FUNCTIONS)

#define CRYPTO_F(...) DYLIB_DEFINE_F(crypto, __VA_ARGS__)
#define CRYPTO_V(...) DYLIB_DEFINE_V(crypto, __VA_ARGS__)
#define SSL_F(...) DYLIB_DEFINE_F(ssl, __VA_ARGS__)
#define SSL_V(...) DYLIB_DEFINE_V(ssl, __VA_ARGS__)

CRYPTO_FUNCTIONS(CRYPTO_F, CRYPTO_V)
SSL_FUNCTIONS(SSL_F, SSL_V)
