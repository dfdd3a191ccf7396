/* The old SMTP server of the benchmark: takes mail, compares each byte of it, and forgets it.
 *
 *   smtpsink ADDRESS:PORT
 *
 * It prints "listening" and serves until its standard input is closed; then it prints how many messages and bytes it
 * took. A message as in mail.h is answered with "250 2.0.0 TAG taken", any other with 554. It offers XCLIENT, as an old
 * server does that is to know the client, takes each AUTH, and mail for example.org alone. */

#define _GNU_SOURCE
#include "mail.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_EVENTS 256
#define GREETING "220 sink.bench.example ESMTP\r\n"
#define OFFERS                                                                                                         \
    "250-sink.bench.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"     \
    "250-AUTH PLAIN LOGIN\r\n250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"

enum state { COMMANDS, BEFORE_MARK, CONTENT, LAST_LINE };

struct peer {
    int fd;
    enum state state;
    bool spoilt;
    char line[4096]; /* one that is not complete yet */
    size_t line_length;
    uint32_t tag;
    uint64_t position, size;
};

static struct {
    unsigned long long messages, spoilt, bytes;
} taken;

static int epoll;
static unsigned char shared[256 * 1024];

static void end(struct peer *peer)
{
    close(peer->fd);
    peer->fd = -1; /* freed by the caller, who may still look at it */
}

/* Answers always fit: the other side waits for them. */
static void say(struct peer *peer, const char *text)
{
    size_t length = strlen(text);
    if (send(peer->fd, text, length, MSG_NOSIGNAL) != (ssize_t)length)
        end(peer);
}

static bool is_verb(const char *line, const char *verb) { return strncasecmp(line, verb, strlen(verb)) == 0; }

static void command(struct peer *peer, const char *line)
{
    if (is_verb(line, "EHLO ")) {
        say(peer, OFFERS);
    } else if (is_verb(line, "HELO ")) {
        say(peer, "250 sink.bench.example\r\n");
    } else if (is_verb(line, "XCLIENT ")) {
        say(peer, GREETING);
    } else if (is_verb(line, "AUTH ")) {
        say(peer, "235 2.7.0 logged in\r\n");
    } else if (is_verb(line, "RCPT ")) {
        say(peer, strcasestr(line, "@example.org>") ? "250 2.1.5 ok\r\n" : "550 5.7.1 relaying denied\r\n");
    } else if (is_verb(line, "DATA")) {
        peer->state = BEFORE_MARK;
        peer->spoilt = false;
        say(peer, "354 go ahead\r\n");
    } else if (is_verb(line, "MAIL ") || is_verb(line, "RSET") || is_verb(line, "NOOP")) {
        say(peer, "250 2.0.0 ok\r\n");
    } else if (is_verb(line, "QUIT")) {
        say(peer, "221 2.0.0 bye\r\n");
        if (peer->fd >= 0)
            end(peer);
    } else {
        say(peer, "500 5.5.2 unknown\r\n");
    }
}

/* A line of the message: what others put above the mark, the mark, the end, or what should not be there. */
static void content_line(struct peer *peer, const char *line, size_t length)
{
    char answer[64];
    unsigned long long size;
    bool is_end = strcmp(line, ".\r\n") == 0;
    taken.bytes += length;
    if (is_end) {
        bool good = peer->state == LAST_LINE && !peer->spoilt;
        snprintf(answer, sizeof answer, good ? "250 2.0.0 %08x taken\r\n" : "554 5.6.0 %08x is spoilt\r\n", peer->tag);
        taken.messages += good;
        taken.spoilt += !good;
        peer->state = COMMANDS;
        say(peer, answer);
    } else if (peer->state == LAST_LINE) {
        peer->spoilt = true;
    } else if (sscanf(line, MARK "%8x %llu\r\n", &peer->tag, &size) == 2) {
        peer->size = size;
        peer->position = 0;
        peer->state = CONTENT;
    }
}

static size_t take_content(struct peer *peer, const unsigned char *bytes, size_t size)
{
    uint64_t left = peer->size - peer->position;
    size_t part = size < left ? size : (size_t)left;
    const unsigned char *expected = mail_at(peer->tag, peer->position, &part);
    if (memcmp(bytes, expected, part) != 0) {
        peer->spoilt = true; /* lines from here on, so that the end is found wherever it is */
        peer->state = LAST_LINE;
    }
    peer->position += part;
    taken.bytes += part;
    if (peer->position == peer->size)
        peer->state = LAST_LINE;
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
        size_t length = peer->line_length;
        peer->line[length] = 0;
        peer->line_length = 0;
        if (peer->state == COMMANDS)
            command(peer, peer->line);
        else
            content_line(peer, peer->line, length);
    }
    return part;
}

static void readable(struct peer *peer)
{
    ssize_t size = recv(peer->fd, shared, sizeof shared, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0)
        end(peer);
    for (size_t at = 0; peer->fd >= 0 && at < (size_t)size;) {
        if (peer->state == CONTENT)
            at += take_content(peer, shared + at, (size_t)size - at);
        else
            at += take_line(peer, shared + at, (size_t)size - at);
    }
    if (peer->fd < 0)
        free(peer);
}

static void accept_all(int listener)
{
    for (int i = 0; i < 64; i++) {
        int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct peer *peer = fd < 0 ? NULL : calloc(1, sizeof *peer);
        if (!peer)
            return;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
        peer->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        say(peer, GREETING);
        if (peer->fd < 0)
            free(peer);
    }
}

static int listen_at(const char *text)
{
    static struct peer listener;
    struct sockaddr_in address = parse_address(text);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    int one = 1;
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener.fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener.fd, 4096) != 0) {
        perror(text);
        exit(1);
    }
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener.fd, &event);
    return listener.fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[MAX_EVENTS], input = {.events = EPOLLIN, .data.ptr = NULL};
    struct rlimit files;
    if (argc != 2) {
        fprintf(stderr, "usage: smtpsink ADDRESS:PORT\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    mail_fill();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_at(argv[1]);
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input); /* refused for a file: then a signal ends us */
    puts("listening");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct peer *peer = events[i].data.ptr;
            char ignored[256];
            if (!peer && read(STDIN_FILENO, ignored, sizeof ignored) <= 0) {
                printf("{\"messages\": %llu, \"spoilt\": %llu, \"bytes\": %llu}\n", taken.messages, taken.spoilt, taken.bytes);
                return 0;
            }
            if (peer && peer->fd == listener)
                accept_all(listener);
            else if (peer)
                readable(peer);
        }
    }
}
