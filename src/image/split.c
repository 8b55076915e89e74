/* SPDX-License-Identifier: Apache-2.0 */
#include "image/split.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/*
 * Theory of operation
 *
 * Beside the reader that unpacks, a second, much simpler one follows the tar's headers and cuts the stream into two kinds of pieces:
 * contents of regular files, which lie in the tree anyway, and the rest (headers, padding, trailers), which is written to "tar",
 * compressed behind a head with the tar's size: 'R' length bytes, 'F' size length path. It runs up to one block ahead of the unpacker, so a file waits in a queue until the
 * unpacker says under which path its content has come to lie; both know an entry by the offset where its headers begin.
 *
 * Whatever this reader does not know for certain (sparse files, hard links with content, damaged headers, what follows the end) it takes
 * as bytes from there on: that costs space and is right in every case. The only thing that cannot be mended is content that left the tree;
 * a file that a later entry of the same name replaces is moved to "kept<n>", a folder that a file replaces is given up (split_lose).
 *
 * Reading glues the pieces together again; whoever reads compares the digest, so a tree that was tampered with is noticed there.
 */
enum { BLOCK = 512, PAX_MAX = 1024 * 1024, RAW_FLUSH = 64 * 1024, PENDING_MAX = 4096, AHEAD_MAX = 8 * 1024 * 1024, IO_SIZE = 128 * 1024 };

/* In front of the compressed part. */
struct split_head {
	char magic[8];
	uint64_t size;		/* of the whole tar */
};
static const char split_magic[8] = "kedgetar";

enum state { HEADER, BODY, PAX, FILE_DATA, BYTES };

struct pending {
	struct buf raw;		/* what comes before it */
	int64_t at;
	uint64_t size;
};

struct displaced {
	char *path;
	uint64_t before;	/* holds for the first so many files */
	unsigned number;
};

struct split_writer {
	int keep, fd;
	ZSTD_CCtx *z;
	char *out;
	bool lost;
	int failed;		/* -errno */
	enum state state;
	char block[BLOCK];
	size_t have;
	unsigned zeros;		/* blocks of them in a row */
	int64_t pos, start;	/* in the tar; start: of the headers of the entry to come */
	uint64_t left, pad;
	bool pax_size_set, pax_sparse;
	uint64_t pax_size;
	struct buf pax, raw;
	struct pending *queue;
	size_t first, count, cap;
	uint64_t files;
	struct displaced *displaced;
	size_t ndisplaced;
};

struct split_writer *split_writer_new(int keep, struct err *e)
{
	struct split_writer *w = mem_zalloc(sizeof(*w));

	w->keep = keep;
	w->fd = openat(keep, "tar", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	w->z = ZSTD_createCCtx();
	w->out = mem_alloc(IO_SIZE);
	if (w->fd < 0 || !w->z || file_write_all(w->fd, &(struct split_head){ 0 }, sizeof(struct split_head)) < 0) {
		err_errno(e, errno ? errno : ENOMEM, "record the layout of a layer");
		split_writer_free(w);
		return NULL;
	}
	ZSTD_CCtx_setParameter(w->z, ZSTD_c_compressionLevel, 1);
	buf_init(&w->raw, SIZE_MAX);
	buf_init(&w->pax, PAX_MAX + 1);
	return w;
}

void split_writer_free(struct split_writer *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->count; i++)
		buf_done(&w->queue[w->first + i].raw);
	for (size_t i = 0; i < w->ndisplaced; i++)
		free(w->displaced[i].path);
	free(w->displaced);
	free(w->queue);
	buf_done(&w->raw);
	buf_done(&w->pax);
	ZSTD_freeCCtx(w->z);
	fd_closep(&w->fd);
	free(w->out);
	free(w);
}

static void put(struct split_writer *w, const void *p, size_t n, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = { p, n, 0 };
	size_t rest;

	if (w->failed || w->lost)
		return;
	do {
		ZSTD_outBuffer out = { w->out, IO_SIZE, 0 };

		rest = ZSTD_compressStream2(w->z, &out, &in, how);
		if (ZSTD_isError(rest))
			w->failed = -ENOMEM;
		else if (out.pos)
			w->failed = file_write_all(w->fd, w->out, out.pos);
	} while (!w->failed && (how == ZSTD_e_end ? rest > 0 : in.pos < in.size));
}

static void put_raw(struct split_writer *w, struct buf *raw)
{
	unsigned char head[5] = { 'R' };
	uint32_t n = (uint32_t)raw->len;

	if (raw->failed)
		w->failed = -ENOMEM;
	if (!raw->len)
		return;
	memcpy(head + 1, &n, sizeof(n));
	put(w, head, sizeof(head), ZSTD_e_continue);
	put(w, raw->data, raw->len, ZSTD_e_continue);
	buf_reset(raw);
}

static void raw_add(struct split_writer *w, const void *p, size_t n)
{
	buf_add(&w->raw, p, n);
	if (!w->count && w->raw.len >= RAW_FLUSH)
		put_raw(w, &w->raw);
	/* The unpacker is never so far behind: it and this reader do not mean the same entries. */
	if (w->raw.len >= AHEAD_MAX)
		split_lose(w);
}

static void enqueue(struct split_writer *w, uint64_t size)
{
	struct pending *p;

	if (w->count >= PENDING_MAX) {
		split_lose(w);
		return;
	}
	if (w->first + w->count == w->cap) {
		if (w->count)
			memmove(w->queue, w->queue + w->first, w->count * sizeof(*w->queue));
		w->first = 0;
		if (w->count == w->cap) {
			w->cap = w->cap ? w->cap * 2 : 64;
			w->queue = mem_realloc(w->queue, w->cap * sizeof(*w->queue));
		}
	}
	p = &w->queue[w->first + w->count++];
	p->raw = w->raw;
	p->at = w->start;
	p->size = size;
	buf_init(&w->raw, SIZE_MAX);
}

/* Octal, or base 256 with the first bit set; false for what does not fit. */
static bool number(const char *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if ((unsigned char)p[0] == 0x80) {
		for (i = 1; i < n; i++) {
			if (v >> 55)
				return false;
			v = v << 8 | (unsigned char)p[i];
		}
		*ret = v;
		return true;
	}
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
		if (v >> 55)
			return false;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	*ret = v;
	return i == n || p[i] == ' ' || p[i] == '\0';
}

static bool header_valid(const char *b)
{
	uint64_t want;
	unsigned sum = 0;

	if (!number(b + 148, 8, &want))
		return false;
	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : (unsigned char)b[i];
	return sum == want;
}

/* "LEN key=value\n"...: size and whether it is sparse. False: no pax header. */
static bool pax_read(struct split_writer *w)
{
	const char *p = w->pax.data ? w->pax.data : "", *end = p + w->pax.len;

	while (p < end) {
		char *stop;
		unsigned long n = strtoul(p, &stop, 10);
		const char *key = stop + 1;

		if (stop == p || *stop != ' ' || n < 5 || n > (size_t)(end - p) || p + n < key)
			return false;
		if (!strncmp(key, "size=", 5)) {
			w->pax_size = strtoull(key + 5, NULL, 10);
			w->pax_size_set = true;
			if (w->pax_size >> 55)
				return false;
		} else if (!strncmp(key, "GNU.sparse.", 11)) {
			w->pax_sparse = true;
		}
		p += n;
	}
	return true;
}

static void next_entry(struct split_writer *w)
{
	w->start = w->pos;
	w->pax_size_set = w->pax_sparse = false;
	w->state = HEADER;
	w->have = 0;
}

/* A whole header block is in; pos is behind it. */
static void header(struct split_writer *w)
{
	const char *b = w->block;
	uint64_t size;
	bool zero = true;

	raw_add(w, b, BLOCK);
	w->have = 0;
	for (size_t i = 0; zero && i < BLOCK; i++)
		zero = !b[i];
	if (zero) {
		if (++w->zeros == 2)
			w->state = BYTES;
		return;
	}
	w->zeros = 0;
	if (!header_valid(b) || !number(b + 124, 12, &size)) {
		w->state = BYTES;
		return;
	}
	w->left = size;
	w->pad = (BLOCK - size % BLOCK) % BLOCK;
	switch (b[156]) {
	case 'x':
		buf_reset(&w->pax);
		w->state = size > PAX_MAX ? BYTES : PAX;
		if (!size)
			w->state = HEADER;
		break;
	case 'g':
	case 'L':
	case 'K':
		w->left += w->pad;
		w->state = w->left ? BODY : HEADER;
		break;
	case '0':
	case '\0':
	case '7':
		if (w->pax_size_set) {
			w->left = w->pax_size;
			w->pad = (BLOCK - w->left % BLOCK) % BLOCK;
		}
		if (!w->left) {
			next_entry(w);
		} else if (w->pax_sparse) {
			/* Its end is an entry's end, but its map is in the data: bytes. */
			w->state = BYTES;
		} else {
			enqueue(w, w->left);
			w->state = FILE_DATA;
		}
		break;
	case '1':
		/* Content or none: readers differ when there is a size. */
		if (size || (w->pax_size_set && w->pax_size))
			w->state = BYTES;
		else
			next_entry(w);
		break;
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
		next_entry(w);
		break;
	default:
		w->state = BYTES;
	}
}

static size_t least(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
}

/* Takes some bytes of p; how many. */
static size_t step(struct split_writer *w, const char *p, size_t n)
{
	size_t take = n;

	switch (w->state) {
	case HEADER:
		take = least(BLOCK - w->have, n);
		memcpy(w->block + w->have, p, take);
		w->have += take;
		w->pos += (int64_t)take;
		if (w->have == BLOCK)
			header(w);
		return take;
	case PAX:
		take = least(w->left, n);
		buf_add(&w->pax, p, take);
		raw_add(w, p, take);
		w->left -= take;
		w->pos += (int64_t)take;
		if (!w->left) {
			w->left = w->pad;
			w->state = !pax_read(w) ? BYTES : w->left ? BODY : HEADER;
		}
		return take;
	case BODY:
		take = least(w->left, n);
		raw_add(w, p, take);
		w->left -= take;
		w->pos += (int64_t)take;
		/* Of an extension, whose entry follows; or a file's padding. */
		if (!w->left)
			w->state = HEADER;
		if (!w->left && w->pad == UINT64_MAX)
			next_entry(w);
		return take;
	case FILE_DATA:
		take = least(w->left, n);
		w->left -= take;
		w->pos += (int64_t)take;
		if (!w->left) {
			w->left = w->pad;
			w->pad = UINT64_MAX;
			w->state = BODY;
			if (!w->left)
				next_entry(w);
		}
		return take;
	case BYTES:
		raw_add(w, p, n);
		w->pos += (int64_t)n;
		return n;
	}
	return n;
}

void split_bytes(struct split_writer *w, const void *p, size_t n)
{
	const char *at = p;

	while (n && !w->lost) {
		size_t took = step(w, at, n);

		at += took;
		n -= took;
	}
}

void split_file(struct split_writer *w, int64_t header_at, uint64_t size, const char *path)
{
	struct pending *p = w->count ? &w->queue[w->first] : NULL;
	unsigned char head[11] = { 'F' };
	uint16_t n = (uint16_t)strlen(path);

	/* An entry that was taken as bytes: no matter where its content lies. */
	if (w->lost || !p || p->at > header_at)
		return;
	if (p->at != header_at || p->size != size) {
		split_lose(w);
		return;
	}
	put_raw(w, &p->raw);
	buf_done(&p->raw);
	memcpy(head + 1, &size, sizeof(size));
	memcpy(head + 9, &n, sizeof(n));
	put(w, head, sizeof(head), ZSTD_e_continue);
	put(w, path, n, ZSTD_e_continue);
	w->first++;
	w->count--;
	w->files++;
}

int split_displace(struct split_writer *w, int dirfd, const char *name, const char *path)
{
	char to[32];

	snprintf(to, sizeof(to), "kept%zu", w->ndisplaced);
	if (renameat(dirfd, name, w->keep, to) < 0)
		return -errno;
	w->displaced = mem_realloc(w->displaced, (w->ndisplaced + 1) * sizeof(*w->displaced));
	w->displaced[w->ndisplaced] = (struct displaced){ mem_strdup(path), w->files, (unsigned)w->ndisplaced };
	w->ndisplaced++;
	return 0;
}

void split_lose(struct split_writer *w)
{
	w->lost = true;
}

/* "displaced": [[path, before, number], ...]; a path that is no UTF-8 cannot be told. */
static int displaced_write(struct split_writer *w)
{
	json_t *all = json_array();
	char *text;
	int rc;

	for (size_t i = 0; i < w->ndisplaced; i++) {
		json_t *one = json_pack("[s, I, I]", w->displaced[i].path, (json_int_t)w->displaced[i].before, (json_int_t)w->displaced[i].number);

		if (!one)
			split_lose(w);
		json_array_append_new(all, one ? one : json_null());
	}
	text = json_text(all);
	rc = file_replace_at(w->keep, "displaced", text, strlen(text), 0600);
	free(text);
	json_decref(all);
	return rc;
}

int split_end(struct split_writer *w, struct err *e)
{
	struct split_head head = { .size = (uint64_t)w->pos };
	int rc;

	if (w->count)
		split_lose(w);
	/* A header that stopped mid-way. */
	if (w->state == HEADER)
		raw_add(w, w->block, w->have);
	put_raw(w, &w->raw);
	put(w, "", 0, ZSTD_e_end);
	rc = w->failed;
	memcpy(head.magic, split_magic, sizeof(head.magic));
	if (rc == 0 && pwrite(w->fd, &head, sizeof(head), 0) != sizeof(head))
		rc = -EIO;
	if (rc == 0 && w->ndisplaced)
		rc = displaced_write(w);
	if (rc < 0)
		return err_errno(e, -rc, "record the layout of a layer");
	if (w->lost && unlinkat(w->keep, "tar", 0) < 0)
		return err_errno(e, errno, "drop the layout of a layer");
	return 0;
}

struct split_reader {
	int layer, fd, fs, file;
	const char *what;
	ZSTD_DCtx *z;
	char *in;
	ZSTD_inBuffer zin;
	bool end;
	uint64_t left;		/* of the piece under way */
	bool in_file;
	uint64_t files;
	uint64_t size;
	json_t *displaced;
	struct err err;
};

struct split_reader *split_open(int layer, const char *what, struct err *e)
{
	struct split_reader *r = mem_zalloc(sizeof(*r));
	struct split_head head;

	r->layer = layer;
	r->what = what;
	r->file = r->fs = -1;
	r->fd = openat(layer, "tar", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (r->fd < 0 && errno == ENOENT) {
		err_set(e, ERR_CONFLICT, "%s cannot be written out again: its archive put a file in the place of a folder of its own", what);
		split_reader_free(r);
		return NULL;
	}
	if (r->fd >= 0)
		r->fs = openat(layer, "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r->z = ZSTD_createDCtx();
	r->in = mem_alloc(IO_SIZE);
	r->zin = (ZSTD_inBuffer){ r->in, 0, 0 };
	if (r->fs < 0 || !r->z) {
		err_errno(e, r->fs < 0 ? errno : ENOMEM, "open %s", what);
		split_reader_free(r);
		return NULL;
	}
	if (read(r->fd, &head, sizeof(head)) != sizeof(head) || memcmp(head.magic, split_magic, sizeof(head.magic))) {
		err_set(e, ERR_INTERNAL, "the record of %s is damaged", what);
		split_reader_free(r);
		return NULL;
	}
	r->size = head.size;
	if (faccessat(layer, "displaced", F_OK, 0) == 0) {
		r->displaced = json_parse_file_at(layer, "displaced", 64 * 1024 * 1024, e);
		if (!r->displaced) {
			split_reader_free(r);
			return NULL;
		}
	}
	return r;
}

void split_reader_free(struct split_reader *r)
{
	if (!r)
		return;
	ZSTD_freeDCtx(r->z);
	fd_closep(&r->fd);
	fd_closep(&r->fs);
	fd_closep(&r->file);
	json_decref(r->displaced);
	free(r->in);
	free(r);
}

uint64_t split_size(const struct split_reader *r)
{
	return r->size;
}

const struct err *split_error(const struct split_reader *r)
{
	return &r->err;
}

/* Bytes of the record: n > 0, 0 at its end, -1. */
static ssize_t record(struct split_reader *r, void *p, size_t n)
{
	ZSTD_outBuffer out = { p, n, 0 };

	while (!out.pos) {
		size_t rc;

		if (r->zin.pos == r->zin.size) {
			ssize_t got = read(r->fd, r->in, IO_SIZE);

			if (got < 0 && errno == EINTR)
				continue;
			if (got < 0)
				return err_errno(&r->err, errno, "read %s", r->what);
			if (got == 0)
				return r->end ? 0 : err_set(&r->err, ERR_INTERNAL, "the record of %s is cut off", r->what);
			r->zin = (ZSTD_inBuffer){ r->in, (size_t)got, 0 };
		}
		rc = ZSTD_decompressStream(r->z, &out, &r->zin);
		if (ZSTD_isError(rc))
			return err_set(&r->err, ERR_INTERNAL, "the record of %s is damaged: %s", r->what, ZSTD_getErrorName(rc));
		r->end = rc == 0;
	}
	return (ssize_t)out.pos;
}

static int record_all(struct split_reader *r, void *p, size_t n)
{
	char *at = p;

	while (n) {
		ssize_t got = record(r, at, n);

		if (got == 0)
			return err_set(&r->err, ERR_INTERNAL, "the record of %s is cut off", r->what);
		if (got < 0)
			return -1;
		at += got;
		n -= (size_t)got;
	}
	return 0;
}

static int open_file(struct split_reader *r, const char *path, uint64_t size)
{
	char kept[32] = "";
	struct stat st;
	const json_t *d;
	size_t i;

	json_array_foreach(r->displaced, i, d) {
		if (str_eq(json_at(d, 0), path) && (uint64_t)json_integer_value(json_array_get(d, 1)) > r->files) {
			snprintf(kept, sizeof(kept), "kept%lld", (long long)json_integer_value(json_array_get(d, 2)));
			break;
		}
	}
	fd_closep(&r->file);
	r->file = *kept ? openat(r->layer, kept, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : file_open_beneath(r->fs, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (r->file < 0)
		return err_errno(&r->err, *kept ? errno : -r->file, "%s: open '%.300s'", r->what, path);
	if (fstat(r->file, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return err_set(&r->err, ERR_INTERNAL, "%s: '%.300s' is not the file that was unpacked", r->what, path);
	posix_fadvise(r->file, 0, 0, POSIX_FADV_SEQUENTIAL);
	r->files++;
	return 0;
}

/* 1: a piece begins; 0: the end; -1. */
static int next_piece(struct split_reader *r)
{
	char kind, path[PATH_MAX + 1];
	uint32_t n = 0;
	uint16_t len = 0;
	ssize_t got = record(r, &kind, 1);

	if (got <= 0)
		return (int)got;
	r->in_file = kind == 'F';
	if (kind == 'R') {
		if (record_all(r, &n, sizeof(n)) < 0)
			return -1;
		r->left = n;
		return 1;
	}
	if (kind != 'F' || record_all(r, &r->left, sizeof(r->left)) < 0 || record_all(r, &len, sizeof(len)) < 0)
		return r->err.kind ? -1 : err_set(&r->err, ERR_INTERNAL, "the record of %s is damaged", r->what);
	if (len > PATH_MAX || record_all(r, path, len) < 0)
		return r->err.kind ? -1 : err_set(&r->err, ERR_INTERNAL, "the record of %s is damaged", r->what);
	path[len] = '\0';
	return open_file(r, path, r->left) < 0 ? -1 : 1;
}

ssize_t split_read(void *reader, void *p, size_t n)
{
	struct split_reader *r = reader;
	ssize_t got;

	while (!r->left) {
		int rc = next_piece(r);

		if (rc <= 0)
			return rc < 0 ? -EIO : 0;
	}
	n = least(r->left, n);
	if (r->in_file) {
		do
			got = read(r->file, p, n);
		while (got < 0 && errno == EINTR);
		if (got < 0)
			err_errno(&r->err, errno, "read %s", r->what);
		else if (got == 0)
			err_set(&r->err, ERR_INTERNAL, "%s: a file became shorter while it was read", r->what);
	} else {
		got = record(r, p, n);
		if (got == 0)
			err_set(&r->err, ERR_INTERNAL, "the record of %s is cut off", r->what);
	}
	if (got <= 0)
		return -EIO;
	r->left -= (uint64_t)got;
	return got;
}
