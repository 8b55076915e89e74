/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

void id_hex(const unsigned char *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = '\0';
}

void id_new(char *out)
{
	unsigned char raw[ID_LEN / 2];

	do {
		rand_bytes(raw, sizeof(raw));
		id_hex(raw, sizeof(raw), out);
	} while (strspn(out, "0123456789") >= ID_SHORT);
}

bool id_is_prefix(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	return n > 0 && n <= ID_LEN && strspn(s, "0123456789abcdef") == n;
}

bool id_name_valid(const char *s)
{
	if (!s || !isalnum((unsigned char)s[0]) || !s[1] || strlen(s) > 255)
		return false;
	for (; *s; s++) {
		if (!isascii((unsigned char)*s) || (!isalnum((unsigned char)*s) && !strchr("_.-", *s)))
			return false;
	}
	return true;
}

static const char *const adjectives[] = {
	"able", "agile", "alert", "amber", "azure", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid",
	"clear", "clever", "coastal", "cosmic", "crisp", "curious", "daring", "deft", "dapper", "eager", "early",
	"earnest", "elated", "fair", "fearless", "fleet", "fluent", "frank", "fresh", "gentle", "gifted", "glad",
	"golden", "grand", "happy", "hardy", "honest", "humble", "jolly", "keen", "kind", "lively", "loyal", "lucid",
	"mellow", "merry", "mighty", "modest", "neat", "nimble", "noble", "open", "patient", "placid", "plucky",
	"polite", "proud", "quick", "quiet", "rapid", "ready", "robust", "rosy", "sage", "serene", "sharp", "silent",
	"sincere", "smart", "snug", "solid", "spry", "steady", "stoic", "sturdy", "sunny", "swift", "tidy", "tranquil",
	"trusty", "upbeat", "valiant", "vivid", "warm", "wise", "witty", "zesty",
};

static const char *const surnames[] = {
	"abel", "ampere", "anning", "babbage", "bell", "bernoulli", "bohr", "bose", "brahe", "cantor", "carson",
	"cauchy", "cerf", "chandrasekhar", "clarke", "copernicus", "coulomb", "cray", "curie", "dalton", "darwin",
	"dijkstra", "dirac", "euclid", "euler", "faraday", "fermat", "fermi", "feynman", "fourier", "franklin",
	"galileo", "galois", "gauss", "germain", "goodall", "hamilton", "hamming", "hawking", "heisenberg", "herschel",
	"hertz", "hilbert", "hopper", "hubble", "huygens", "hypatia", "jacobi", "joule", "kelvin", "kepler", "kirch",
	"kovalevskaya", "lagrange", "lamarr", "lamport", "laplace", "leavitt", "leibniz", "lovelace", "maxwell",
	"meitner", "mendel", "mitchell", "morse", "napier", "newton", "noether", "ohm", "pascal", "pasteur", "payne",
	"planck", "poincare", "ptolemy", "raman", "ramanujan", "riemann", "ritchie", "rutherford", "sagan", "salk",
	"shannon", "somerville", "tesla", "thales", "turing", "volta", "watt", "weyl", "wiles", "wu", "yonath",
};

void id_random_name(char *out, size_t size, unsigned attempt)
{
	const char *a = adjectives[rand_below(N(adjectives))];
	const char *b = surnames[rand_below(N(surnames))];

	if (attempt)
		snprintf(out, size, "%s_%s%u", a, b, (unsigned)rand_below(10));
	else
		snprintf(out, size, "%s_%s", a, b);
}
