/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_FILE_H
#define KEDGE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* All return 0/fd or -errno unless they take a struct err; all descriptors are O_CLOEXEC. */

/* Whole file into b, at most limit bytes (-EFBIG past it). */
int file_read_at(int dirfd, const char *path, size_t limit, struct buf *b);
/* One-line files of /proc and /sys: no trailing newline; out always terminated. */
int file_read_line(const char *path, char *out, size_t size);
/* write(2) until done. */
int file_write_all(int fd, const void *p, size_t n);
/* Existing file (cgroup, /proc): open, write once, close. */
int file_put_at(int dirfd, const char *path, const char *text);
/* Durable replace: temporary in the same directory, fsync, rename, fsync of the directory. */
int file_replace_at(int dirfd, const char *path, const void *p, size_t n, mode_t mode);
/* mkdir -p; an existing directory is success. */
int file_mkdir_p(const char *path, mode_t mode);
/* Removes a tree without following links or crossing mounts; missing is success. */
int file_rm_rf_at(int dirfd, const char *path);
/* openat2(RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS): path inside rootfd, whatever links it holds. */
int file_open_in_root(int rootfd, const char *path, int flags, mode_t mode);
/* openat2(RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS). */
int file_open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* mkdir -p below rootfd, links resolved inside it; returns an O_PATH directory handle. */
int file_mkdir_in_root(int rootfd, const char *path, mode_t mode, uid_t uid, gid_t gid);
/* F_OFD_SETLK write lock, not waiting: fd, or -EAGAIN when another process holds it. */
int file_lock(const char *path);
/* Closes every descriptor >= from except the n in keep (close_range). */
void file_close_from(int from, const int *keep, size_t n);

#endif
