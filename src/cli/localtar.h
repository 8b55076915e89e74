/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_LOCALTAR_H
#define KEDGE_CLI_LOCALTAR_H

#include <stdbool.h>

#include "base/err.h"

/* Local files to and from tar, for `cp`. Blocking, on a thread of their own; fd is a pipe to or from the thread that speaks to the engine. */
struct localtar {
	int fd;
	const char *dir;	/* local folder */
	const char *from, *to;	/* entries named `from` or below it become `to`: see cmd_cp.c */
	struct err err;
	unsigned long long bytes;	/* of files */
};

/* The object dir/from and all below it, named `to` in the archive. follow: from itself may be a link. */
int localtar_pack(struct localtar *t, bool follow);
/* Into dir; owners are ours, a folder replaces no file nor a file a folder. Nothing is written outside of dir, whatever the archive says. */
int localtar_unpack(struct localtar *t);

#endif
