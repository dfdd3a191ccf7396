/* The old mail server of the benchmark: plaintext IMAP up to the login, then three commands to move bytes with.
 *
 *   backend ADDRESS:PORT...
 *
 * It prints "listening" and serves until its standard input is closed. It greets, accepts every login, answers
 * CAPABILITY, ID, NOOP and LOGOUT, and after that, with a tag of eight hexadecimal digits:
 *
 *   tag ECHO payload    44 bytes of payload come back twice, in 120 bytes
 *   tag DOWN n          n bytes of the pattern, then "tag OK DOWN n"
 *   tag UP n            takes n bytes that follow at once, compares them, then "tag OK UP n" or "tag NO UP n"
 *
 * Nothing may be pipelined. CORRUPT_AT in the environment spoils that byte of every DOWN, to prove the check. */

#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CAPABILITIES "IMAP4rev1 AUTH=PLAIN"
#define GREETING "* OK [CAPABILITY " CAPABILITIES "] bench\r\n"
#define MAX_LISTENERS 64
#define MAX_EVENTS 256

struct peer {
    int fd;
    bool listening, reads, in_login, spoilt;
    char line[1024]; /* a command that is not complete yet */
    size_t line_length;
    char login_tag[64];
    char tail[64]; /* what is said behind the bytes of a DOWN, or of an UP */
    uint64_t down_left, up_left, position;
};

static int epoll;
static unsigned char shared[256 * 1024];

static void watch(struct peer *peer, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};
    epoll_ctl(epoll, EPOLL_CTL_MOD, peer->fd, &event);
}

static void end(struct peer *peer)
{
    close(peer->fd);
    peer->fd = -1; /* freed by the caller, who may still look at it */
}

/* Small answers always fit: the other side has read the last one before it asks again. */
static void say(struct peer *peer, const char *text)
{
    size_t length = strlen(text);
    if (send(peer->fd, text, length, MSG_NOSIGNAL) != (ssize_t)length)
        end(peer);
}

static bool send_bulk(struct peer *peer)
{
    while (peer->down_left > 0) {
        size_t size = peer->down_left < CHUNK_BYTES ? (size_t)peer->down_left : CHUNK_BYTES;
        const unsigned char *bytes = pattern_at(peer->position);
        if (corrupt_at >= 0) {
            uint64_t sent = strtoull(strrchr(peer->tail, ' '), NULL, 10) - peer->down_left;
            bytes = spoil(shared, bytes, sent, size);
        }
        ssize_t done = send(peer->fd, bytes, size, MSG_NOSIGNAL);
        if (done < 0)
            return errno == EAGAIN ? false : (end(peer), true);
        peer->down_left -= (uint64_t)done;
        peer->position += (uint64_t)done;
    }
    say(peer, peer->tail);
    return true;
}

static void start_bulk(struct peer *peer, uint32_t tag, uint64_t size, bool down)
{
    peer->position = pattern_start(tag);
    peer->spoilt = false;
    snprintf(peer->tail, sizeof peer->tail, "%08x OK %s %llu\r\n", tag, down ? "DOWN" : "UP", (unsigned long long)size);
    if (!down) {
        peer->up_left = size;
        return;
    }
    peer->down_left = size;
    if (!send_bulk(peer)) {
        peer->reads = false;
        watch(peer, EPOLLOUT);
    }
}

/* A login may come in several lines, with literals; all of it is accepted. */
static void login_line(struct peer *peer, const char *line, size_t length)
{
    char answer[128];
    peer->in_login = length > 0 && line[length - 1] == '}';
    if (peer->in_login) {
        say(peer, "+ OK\r\n");
        return;
    }
    snprintf(answer, sizeof answer, "%s OK [CAPABILITY " CAPABILITIES "] logged in\r\n", peer->login_tag);
    say(peer, answer);
}

static void command(struct peer *peer, char *line, size_t length)
{
    char answer[256], tag[64], word[32];
    unsigned long long size = 0;
    if (peer->in_login) {
        login_line(peer, line, length);
        return;
    }
    if (sscanf(line, "%63s %31s %llu", tag, word, &size) < 2) {
        end(peer);
        return;
    }
    if (strcmp(word, "ECHO") == 0 && length == ECHO_REQUEST - 2) {
        echo_answer(answer, tag, line + length - ECHO_PAYLOAD);
        say(peer, answer);
    } else if (strcmp(word, "DOWN") == 0 || strcmp(word, "UP") == 0) {
        start_bulk(peer, (uint32_t)strtoul(tag, NULL, 16), size, *word == 'D');
    } else if (strcasecmp(word, "LOGIN") == 0) {
        memcpy(peer->login_tag, tag, sizeof tag);
        login_line(peer, line, length);
    } else if (strcasecmp(word, "AUTHENTICATE") == 0) {
        memcpy(peer->login_tag, tag, sizeof tag);
        peer->in_login = sscanf(line, "%*s %*s %*s %1s", answer) < 1; /* without an initial response */
        if (peer->in_login)
            say(peer, "+ \r\n");
        else
            login_line(peer, "", 0);
    } else {
        bool logout = strcasecmp(word, "LOGOUT") == 0;
        snprintf(answer, sizeof answer, "%s%.63s OK done\r\n",
                 strcasecmp(word, "CAPABILITY") == 0 ? "* CAPABILITY " CAPABILITIES "\r\n"
                 : logout                            ? "* BYE\r\n"
                 : strcasecmp(word, "ID") == 0       ? "* ID NIL\r\n"
                                                     : "",
                 tag);
        say(peer, answer);
        if (logout && peer->fd >= 0)
            end(peer);
    }
}

static size_t take_upload(struct peer *peer, const unsigned char *bytes, size_t size)
{
    size_t part = size < peer->up_left ? size : (size_t)peer->up_left;
    part = part < CHUNK_BYTES ? part : CHUNK_BYTES;
    if (memcmp(bytes, pattern_at(peer->position), part) != 0)
        peer->spoilt = true;
    peer->position += part;
    peer->up_left -= part;
    if (peer->up_left == 0) {
        if (peer->spoilt)
            memcpy(peer->tail + 9, "NO", 2);
        say(peer, peer->tail);
    }
    return part;
}

static size_t take_line(struct peer *peer, const unsigned char *bytes, size_t size)
{
    const unsigned char *newline = memchr(bytes, '\n', size);
    size_t part = newline ? (size_t)(newline - bytes) + 1 : size;
    if (peer->line_length + part >= sizeof peer->line) {
        end(peer);
        return part;
    }
    memcpy(peer->line + peer->line_length, bytes, part);
    peer->line_length += part;
    if (newline) {
        size_t length = peer->line_length - 1;
        length -= length > 0 && peer->line[length - 1] == '\r';
        peer->line[length] = 0;
        peer->line_length = 0;
        command(peer, peer->line, length);
    }
    return part;
}

static void readable(struct peer *peer)
{
    ssize_t size = recv(peer->fd, shared, sizeof shared, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0) {
        end(peer);
        return;
    }
    for (size_t at = 0; at < (size_t)size && peer->fd >= 0;) {
        if (peer->up_left > 0)
            at += take_upload(peer, shared + at, (size_t)size - at);
        else
            at += take_line(peer, shared + at, (size_t)size - at);
    }
}

static void serve(struct peer *peer, uint32_t events)
{
    if (peer->reads && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        readable(peer);
    } else if (!peer->reads && send_bulk(peer) && peer->fd >= 0) {
        peer->reads = true;
        watch(peer, EPOLLIN);
    }
    if (peer->fd < 0)
        free(peer);
}

static void accept_all(const struct peer *listener)
{
    for (int i = 0; i < 64; i++) {
        int one = 1, fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct peer *peer = calloc(1, sizeof *peer);
        if (!peer)
            exit(1);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
        peer->fd = fd;
        peer->reads = true;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        say(peer, GREETING);
        if (peer->fd < 0)
            free(peer);
    }
}

static void listen_at(struct peer *listener, const char *text)
{
    struct sockaddr_in address = parse_address(text);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};
    int one = 1;
    listener->listening = true;
    listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener->fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener->fd, 4096) != 0) {
        perror(text);
        exit(1);
    }
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener->fd, &event);
}

int main(int argc, char **argv)
{
    static struct peer listeners[MAX_LISTENERS];
    struct epoll_event events[MAX_EVENTS], input = {.events = EPOLLIN, .data.ptr = NULL};
    struct rlimit files;
    if (argc < 2 || argc > MAX_LISTENERS) {
        fprintf(stderr, "usage: backend ADDRESS:PORT...\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (getenv("CORRUPT_AT"))
        corrupt_at = atoll(getenv("CORRUPT_AT"));
    pattern_fill();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 1; i < argc; i++)
        listen_at(&listeners[i], argv[i]);
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input); /* refused for a file: then a signal ends us */
    puts("listening");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct peer *peer = events[i].data.ptr;
            char ignored[256];
            if (!peer) {
                if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
                    return 0;
            } else if (peer->listening) {
                accept_all(peer);
            } else {
                serve(peer, events[i].events);
            }
        }
    }
}
