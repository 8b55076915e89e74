/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_CURL_LIB_H
#define KEDGE_IMAGE_CURL_LIB_H

/*
 * libcurl, loaded when a registry is first spoken to. It brings thirty libraries along, which would be a quarter of an idle engine's
 * memory on hosts that hardly ever pull. Its functions keep their names: they are macros for the pointers here, valid once
 * curl_lib_load() has said so.
 */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <stdbool.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

#define CURL_LIB_FUNCTIONS(X) \
	X(curl_easy_cleanup) X(curl_easy_getinfo) X(curl_easy_init) X(curl_easy_pause) X(curl_easy_setopt) X(curl_easy_strerror) \
	X(curl_global_init) X(curl_multi_add_handle) X(curl_multi_assign) X(curl_multi_cleanup) X(curl_multi_info_read) X(curl_multi_init) \
	X(curl_multi_remove_handle) X(curl_multi_setopt) X(curl_multi_socket_action) X(curl_slist_append) X(curl_slist_free_all)

struct curl_lib {
#define X(name) __typeof__(name) *p_##name;
	CURL_LIB_FUNCTIONS(X)
#undef X
};
extern struct curl_lib curl_lib;

/* Loads and initialises it, once; any thread. False: it is not there, or not all of it. It stays loaded. */
bool curl_lib_load(void);

#define curl_easy_cleanup curl_lib.p_curl_easy_cleanup
#define curl_easy_getinfo curl_lib.p_curl_easy_getinfo
#define curl_easy_init curl_lib.p_curl_easy_init
#define curl_easy_pause curl_lib.p_curl_easy_pause
#define curl_easy_setopt curl_lib.p_curl_easy_setopt
#define curl_easy_strerror curl_lib.p_curl_easy_strerror
#define curl_global_init curl_lib.p_curl_global_init
#define curl_multi_add_handle curl_lib.p_curl_multi_add_handle
#define curl_multi_assign curl_lib.p_curl_multi_assign
#define curl_multi_cleanup curl_lib.p_curl_multi_cleanup
#define curl_multi_info_read curl_lib.p_curl_multi_info_read
#define curl_multi_init curl_lib.p_curl_multi_init
#define curl_multi_remove_handle curl_lib.p_curl_multi_remove_handle
#define curl_multi_setopt curl_lib.p_curl_multi_setopt
#define curl_multi_socket_action curl_lib.p_curl_multi_socket_action
#define curl_slist_append curl_lib.p_curl_slist_append
#define curl_slist_free_all curl_lib.p_curl_slist_free_all

#endif
