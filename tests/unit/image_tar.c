/* SPDX-License-Identifier: Apache-2.0 */
#include "image_tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static void octal(char *field, size_t size, uint64_t v)
{
	snprintf(field, size, "%0*llo", (int)size - 1, (unsigned long long)v);
}

static void pad(struct buf *b)
{
	static const char zero[512];

	if (b->len % 512)
		buf_add(b, zero, 512 - b->len % 512);
}

static void header(struct buf *b, const struct tar_entry *t, char type, const char *name, uint64_t size)
{
	char h[512] = { 0 };
	unsigned sum = 0;

	memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
	octal(h + 100, 8, t->mode ? t->mode : (type == '5' ? 0755 : 0644));
	octal(h + 108, 8, t->uid);
	octal(h + 116, 8, t->gid);
	if (size >> 33) {
		h[124] = (char)0x80;	/* base-256, GNU's way past eight gigabytes */
		for (int i = 0; i < 8; i++)
			h[135 - i] = (char)(size >> (8 * i));
	} else {
		octal(h + 124, 12, size);
	}
	octal(h + 136, 12, (uint64_t)t->mtime);
	memset(h + 148, ' ', 8);
	h[156] = type;
	if (t->link)
		memcpy(h + 157, t->link, strlen(t->link) < 100 ? strlen(t->link) : 100);
	memcpy(h + 257, "ustar\00000", 8);
	octal(h + 329, 8, t->major);
	octal(h + 337, 8, t->minor);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 7, "%06o", sum);
	buf_add(b, h, sizeof(h));
}

static void pax_record(struct buf *b, const char *kv, size_t n)
{
	size_t len = n + 3;
	char num[24];

	/* The length counts its own digits. */
	while ((size_t)snprintf(num, sizeof(num), "%zu", len) + 1 + n + 1 != len)
		len = (size_t)snprintf(num, sizeof(num), "%zu", len) + 1 + n + 1;
	buf_printf(b, "%zu ", len);
	buf_add(b, kv, n);
	buf_addc(b, '\n');
}

void tar_put(struct buf *b, const struct tar_entry *t)
{
	struct buf pax = BUF_INIT;

	for (const char *p = t->pax ? t->pax : ""; *p;) {
		size_t n = strcspn(p, "\n");

		pax_record(&pax, p, n);
		p += n + (p[n] == '\n');
	}
	if (strlen(t->name) > 100) {
		char *kv = mem_printf("path=%s", t->name);

		pax_record(&pax, kv, strlen(kv));
		free(kv);
	}
	if (t->link && strlen(t->link) > 100) {
		char *kv = mem_printf("linkpath=%s", t->link);

		pax_record(&pax, kv, strlen(kv));
		free(kv);
	}
	if (pax.len) {
		struct tar_entry none = { 0 };

		header(b, &none, 'x', "pax", pax.len);
		buf_add(b, pax.data, pax.len);
		pad(b);
	}
	buf_done(&pax);
	header(b, t, t->type, t->name, t->declared ? (uint64_t)t->declared : t->n);
	buf_add(b, t->data, t->n);
	pad(b);
}

void tar_file(struct buf *b, const char *name, const char *text)
{
	tar_put(b, &(struct tar_entry){ .name = name, .type = '0', .data = text, .n = strlen(text) });
}

void tar_dir(struct buf *b, const char *name)
{
	tar_put(b, &(struct tar_entry){ .name = name, .type = '5' });
}

void tar_link_to(struct buf *b, char type, const char *name, const char *target)
{
	tar_put(b, &(struct tar_entry){ .name = name, .type = type, .link = target });
}

void tar_end(struct buf *b)
{
	static const char zero[1024];

	buf_add(b, zero, sizeof(zero));
}

static la_ssize_t out_write(struct archive *a, void *user, const void *p, size_t n)
{
	(void)a;
	buf_add(user, p, n);
	return (la_ssize_t)n;
}

/* By name, but only those that layers come in: with a static libarchive the others would have to be linked too. */
static void add_filter(struct archive *a, const char *name)
{
	static const struct { const char *name; int (*add)(struct archive *a); } filters[] = {
		{ "gzip", archive_write_add_filter_gzip }, { "bzip2", archive_write_add_filter_bzip2 },
		{ "xz", archive_write_add_filter_xz }, { "zstd", archive_write_add_filter_zstd },
	};

	for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++) {
		if (!strcmp(filters[i].name, name))
			(void)filters[i].add(a);
	}
}

void tar_compress(const struct buf *src, const char *filter, struct buf *out)
{
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();

	add_filter(a, filter);
	archive_write_set_format_raw(a);
	archive_write_set_bytes_in_last_block(a, 1);
	archive_write_open(a, out, NULL, out_write, NULL);
	archive_entry_set_pathname(e, "data");
	archive_entry_set_filetype(e, AE_IFREG);
	archive_write_header(a, e);
	archive_write_data(a, src->data, src->len);
	archive_write_close(a);
	archive_write_free(a);
	archive_entry_free(e);
}
