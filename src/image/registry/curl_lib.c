/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "image/registry/curl_lib.h"

#include <dlfcn.h>
#include <pthread.h>

#include "base/log.h"

struct curl_lib curl_lib;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool loaded;

#define NAME_OF(x) #x

static void load(void)
{
	void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	bool all = lib != NULL;

	/* The names here are those of the library: the macros do not reach into a string made before they are expanded. */
#undef curl_easy_cleanup
#undef curl_easy_getinfo
#undef curl_easy_init
#undef curl_easy_pause
#undef curl_easy_setopt
#undef curl_easy_strerror
#undef curl_global_init
#undef curl_multi_add_handle
#undef curl_multi_assign
#undef curl_multi_cleanup
#undef curl_multi_info_read
#undef curl_multi_init
#undef curl_multi_remove_handle
#undef curl_multi_setopt
#undef curl_multi_socket_action
#undef curl_slist_append
#undef curl_slist_free_all
#define X(name) if (all && !(curl_lib.p_##name = (__typeof__(curl_lib.p_##name))dlsym(lib, NAME_OF(name)))) all = false;
	CURL_LIB_FUNCTIONS(X)
#undef X
	/* Only libcurl's own part: TLS is OpenSSL's, which initialises itself. */
	loaded = all && curl_lib.p_curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	if (!loaded)
		log_error("image", "cannot load libcurl.so.4, no registry can be spoken to: %s", lib ? "it lacks functions" : dlerror());
}

bool curl_lib_load(void)
{
	(void)pthread_once(&once, load);
	return loaded;
}
