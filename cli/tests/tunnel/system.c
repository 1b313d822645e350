/* Answers of the system that a test cannot bring about: a name server that is silent, a name that has
   two addresses, connections that end before they are accepted, and connections that are in the queue
   when a signal comes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef int accept_with(int, struct sockaddr *, socklen_t *, int);

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
    look_up *real = (look_up *)dlsym(RTLD_NEXT, "getaddrinfo");
    int error;

    if (name != NULL && strcmp(name, "silent.test") == 0)
        for (;;)
            pause();
    if (name == NULL || strcmp(name, "two.test") != 0)
        return real(name, port, hints, found);
    error = real("127.0.0.2", port, hints, found);
    return error ? error : real("127.0.0.1", port, hints, &(*found)->ai_next);
}

/* With $LATER all connections stay in the queue, and the first $ABORTED end before they are accepted. The
   program drains the queue by the system call itself. */
int accept4(int listening, struct sockaddr *peer, socklen_t *length, int flags)
{
    static int aborted;
    accept_with *real = (accept_with *)dlsym(RTLD_NEXT, "accept4");
    const char *most = getenv("ABORTED");
    int accepted;

    if (getenv("LATER") != NULL) {
        errno = EAGAIN;
        return -1;
    }
    accepted = real(listening, peer, length, flags);
    if (accepted >= 0 && most != NULL && aborted < atoi(most)) {
        aborted++;
        close(accepted);
        errno = ECONNABORTED;
        return -1;
    }
    return accepted;
}
