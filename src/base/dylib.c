/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dylib.h"

#include <dlfcn.h>
#include <stdint.h>

#include "base/log.h"

static bool load(struct dylib *d)
{
	void *lib = dlopen(d->soname, RTLD_NOW | RTLD_LOCAL);

	if (!lib) {
		log_error("base", "cannot load %s: %s", d->soname, dlerror());
		return false;
	}
	for (size_t i = 0; i < d->n; i++) {
		void *p = dlsym(lib, d->names[i]);

		if (!p) {
			log_error("base", "cannot use %s: it has no %s", d->soname, d->names[i]);
			for (size_t k = 0; k < i; k++)
				d->at[k] = NULL;
			(void)dlclose(lib);
			return false;
		}
		d->at[i] = p;
	}
	return true;
}

bool dylib_load(struct dylib *d)
{
	if (__atomic_load_n(&d->loaded, __ATOMIC_ACQUIRE))
		return true;
	(void)pthread_mutex_lock(&d->lock);
	if (!d->tried) {
		d->tried = true;
		__atomic_store_n(&d->loaded, load(d), __ATOMIC_RELEASE);
	}
	(void)pthread_mutex_unlock(&d->lock);
	return d->loaded;
}
