/* SPDX-License-Identifier: Apache-2.0 */
/* What images take on disk, layers that several share counted once. */
#include "image/image_priv.h"

#include "base/str.h"

uint64_t images_layers_bytes(struct images *im)
{
	const struct layer *l;
	uint64_t sum = 0;
	size_t it = 0;

	pthread_mutex_lock(&im->lock);
	while ((l = map_next(im->layers, &it, NULL)))
		sum += l->bytes;
	pthread_mutex_unlock(&im->lock);
	return sum;
}

uint64_t image_shared_bytes(struct images *im, const char *id)
{
	const struct image *i = map_get(im->by_id, id);
	uint64_t sum = 0;

	pthread_mutex_lock(&im->lock);
	for (size_t k = 0; i && k < i->nlayers; k++) {
		const struct layer *l = map_get(im->layers, i->chains[k]);

		if (l && l->refs > 1)
			sum += l->bytes;
	}
	pthread_mutex_unlock(&im->lock);
	return sum;
}
