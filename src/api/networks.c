/* SPDX-License-Identifier: Apache-2.0 */
/* /networks */
#include "api/api_priv.h"

static void api_network_list(struct api_call *c)
{
	json_t *filters, *list;
	struct err e = { 0 };

	if (api_filters(c, &filters, &e) < 0) {
		api_reply_err(c, &e);
		return;
	}
	list = engine_network_list(c->api->engine, filters, &e);
	json_decref(filters);
	if (list)
		api_reply_json(c, 200, list);
	else
		api_reply_err(c, &e);
}

static void api_network_inspect(struct api_call *c)
{
	struct err e = { 0 };
	json_t *doc = engine_network_inspect(c->api->engine, c->arg, &e);

	if (doc)
		api_reply_json(c, 200, doc);
	else
		api_reply_err(c, &e);
}

const struct api_route api_routes_networks[] = {
	{ "GET", "/networks", api_network_list },
	{ "GET", "/networks/*", api_network_inspect },
	{ 0 },
};
