/* Loaded into a child before the C library: counts the calls that open, write, sync or cut the files of the store (and
 * those that read, if asked to), and lets some of them fail, or ends the process at one.
 *
 * The orders stand in a file that this and the test have mapped or opened: see `faults.rs`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct control {
    uint64_t count; /* calls so far */
    uint64_t from;  /* the first call that fails */
    uint64_t until; /* the first that works again */
    uint64_t error; /* the errno; 0 kills the process */
    uint64_t reads; /* whether reads count */
};

static volatile struct control *control;
static const char *name;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("GRANTRY_SHIM_CONTROL");
    name = getenv("GRANTRY_SHIM_NAME");
    if (!path || !name) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) abort();
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) abort();
    control = mapped;
    close(fd);
}

static int strikes(const char *path) {
    if (!strstr(path, name)) return 0;
    uint64_t n = __atomic_fetch_add(&control->count, 1, __ATOMIC_SEQ_CST);
    if (n < control->from || n >= control->until) return 0;
    if (!control->error) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    errno = (int)control->error;
    return 1;
}

static int strikes_fd(int fd, int reads) {
    if (!control || (reads && !control->reads)) return 0;
    char link[40], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strikes(path);
}

static int open_at(const char *path, int flags, mode_t mode) {
    if (control && strikes(path)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#define OPEN(function)                                          \
    int function(const char *path, int flags, ...) {            \
        va_list rest;                                           \
        va_start(rest, flags);                                  \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                           \
        return open_at(path, flags, mode);                      \
    }
OPEN(open)
OPEN(open64)

ssize_t read(int fd, void *to, size_t count) {
    return strikes_fd(fd, 1) ? -1 : syscall(SYS_read, fd, to, count);
}

ssize_t write(int fd, const void *from, size_t count) {
    return strikes_fd(fd, 0) ? -1 : syscall(SYS_write, fd, from, count);
}

#define PREAD(function)                                         \
    ssize_t function(int fd, void *to, size_t count, off_t at) { \
        return strikes_fd(fd, 1) ? -1 : syscall(SYS_pread64, fd, to, count, at); \
    }
PREAD(pread)
PREAD(pread64)

#define PWRITE(function)                                        \
    ssize_t function(int fd, const void *from, size_t count, off_t at) { \
        return strikes_fd(fd, 0) ? -1 : syscall(SYS_pwrite64, fd, from, count, at); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

int fsync(int fd) { return strikes_fd(fd, 0) ? -1 : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return strikes_fd(fd, 0) ? -1 : (int)syscall(SYS_fdatasync, fd); }

#define FTRUNCATE(function)                                     \
    int function(int fd, off_t length) {                        \
        return strikes_fd(fd, 0) ? -1 : (int)syscall(SYS_ftruncate, fd, length); \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)
