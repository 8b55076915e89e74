/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Without libFuzzer: each file of the folder given by the environment or the first argument goes through the target as it is, and then
 * ROUNDS times with a few bytes changed, cut or doubled. The numbers come from a fixed start, so that a failure repeats itself;
 * KEDGE_FUZZ_VERBOSE=1 prints each file's name before its turn.
 */
enum { ROUNDS = 300, SEED_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static uint64_t state = 88172645463325252ull;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static size_t change(uint8_t *p, size_t n)
{
	static const uint8_t odd[] = { 0, 0xff, '/', '.', '"', '{', '7', 0x80 };

	for (unsigned k = 1 + next() % 4; k && n; k--) {
		size_t at = next() % n, len = 1 + next() % 32;

		switch (next() % 5) {
		case 0:
			p[at] ^= (uint8_t)(1 << next() % 8);
			break;
		case 1:
			p[at] = odd[next() % sizeof(odd)];
			break;
		case 2:
			n = at;
			break;
		case 3:
			len = len < n - at ? len : n - at;
			memmove(p + at, p + at + len, n - at - len);
			n -= len;
			break;
		default:
			len = len < n - at ? len : n - at;
			memmove(p + next() % (n - len + 1), p + at, len);
		}
	}
	return n;
}

static int run_file(const char *path)
{
	uint8_t *seed = malloc(SEED_MAX), *p = malloc(SEED_MAX);
	FILE *f = fopen(path, "rb");
	size_t n = f ? fread(seed, 1, SEED_MAX, f) : 0;

	if (!f || !seed || !p) {
		fprintf(stderr, "cannot read %s\n", path);
		return -1;
	}
	fclose(f);
	if (getenv("KEDGE_FUZZ_VERBOSE"))
		fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(seed, n);
	for (int k = 0; k < ROUNDS; k++) {
		size_t m;
		uint8_t *exact;

		memcpy(p, seed, n);
		m = change(p, n);
		/* Its own allocation, so that the sanitizer sees a byte read too far. */
		exact = malloc(m ? m : 1);
		memcpy(exact, p, m);
		LLVMFuzzerTestOneInput(exact, m);
		free(exact);
	}
	free(seed);
	free(p);
	return 0;
}

int main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : getenv("KEDGE_CORPUS");
	const char *name = strrchr(argv[0], '/');
	char path[8192], own[4096];
	struct dirent **list;
	int n, bad = 0, seen = 0;

	if (!dir) {
		/* In "make check": the source folder has a corpus of the program's name. */
		snprintf(own, sizeof(own), "%s/tests/fuzz/%s.corpus", getenv("srcdir") ? getenv("srcdir") : ".", name ? name + 1 : argv[0]);
		dir = own;
	}
	n = scandir(dir, &list, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		if (*list[i]->d_name != '.') {
			snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
			bad |= run_file(path) < 0;
			seen++;
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	if (!seen) {
		fprintf(stderr, "there is no corpus in %s\n", dir);
		return 1;
	}
	printf("%d seeds, %d inputs\n", seen, seen * (ROUNDS + 1));
	return bad;
}
