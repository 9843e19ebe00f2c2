// Preloaded into a server: writes and syncs of chosen files fail, or are slow, as on a full, broken or slow disk. What it does is in a
// file that both sides map, so that a test can change it while the server runs (disk.py has the same struct).

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct control {
    _Atomic int64_t error;  // the errno to fail with; 0: nothing fails
    _Atomic int64_t syncs;  // 1: syncs count and fail too; 0: only what writes
    _Atomic int64_t well;   // calls that still go well
    _Atomic int64_t fails;  // calls that fail then; below 0: all
    _Atomic int64_t pause;  // microseconds that each sync takes longer
    _Atomic int64_t calls;  // calls seen on the files
    _Atomic int64_t failed; // calls that were failed
};

static struct control *control;
static const char *prefix;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_CONTROL");
    prefix = getenv("DISK_PREFIX");
    int fd = path && prefix ? open(path, O_RDWR) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        control = mapped;
}

static int is_chosen(int fd) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

// True where the call has to fail, errno set.
static int fails(int fd, int is_sync) {
    if (!control || !is_chosen(fd))
        return 0;
    if (is_sync && control->pause > 0)
        usleep((useconds_t)control->pause);
    if (is_sync && !control->syncs)
        return 0;
    control->calls++;
    int error = (int)control->error;
    if (!error || atomic_fetch_sub(&control->well, 1) > 0)
        return 0;
    control->well = 0;
    int64_t left = control->fails;
    if (left == 0)
        return 0;
    if (left > 0)
        control->fails = left - 1;
    control->failed++;
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t count) {
    return fails(fd, 0) ? -1 : REAL(write)(fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return fails(fd, 0) ? -1 : REAL(pwrite)(fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return fails(fd, 0) ? -1 : REAL(pwrite64)(fd, bytes, count, at);
}
int ftruncate(int fd, off_t length) { return fails(fd, 0) ? -1 : REAL(ftruncate)(fd, length); }
int ftruncate64(int fd, off64_t length) { return fails(fd, 0) ? -1 : REAL(ftruncate64)(fd, length); }
int fsync(int fd) { return fails(fd, 1) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails(fd, 1) ? -1 : REAL(fdatasync)(fd); }
