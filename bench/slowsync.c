/* A slow disk: each fsync and fdatasync takes 2 ms longer. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static int slowly(const char *name, int fd)
{
    struct timespec delay = {0, 2000000};
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

    nanosleep(&delay, NULL);
    return sync(fd);
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
