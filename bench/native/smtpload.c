/* Senders of mail for the benchmark: sessions in one process, each answer looked at.
 *
 *   smtpload --target ADDRESS:PORT [options]
 *
 * Each session says EHLO, by options STARTTLS and AUTH, delivers its messages one after another, and says QUIT. It waits
 * for the answer to each command, since not everybody who is measured takes several at once. That a message has come
 * whole is known by its tag in the answer, which the receiver (smtpsink) gives only then.
 *
 * With --steps it prints {"event": "ready"} and waits for a line; prints the result; waits for another. The exit status
 * is 1 if anything failed. CORRUPT_AT in the environment spoils that byte of every message. */

#define _GNU_SOURCE
#include "mail.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_EVENTS 256
#define SMALL_BYTES 16384 /* up to here a message leaves in one piece */
#define CLOSE_PATIENCE_NS 5000000000ULL

enum secrecy { PLAIN, STARTTLS, TLS };
static const char *const secrecy_names[] = {"plain", "starttls", "tls", NULL};

static struct {
    struct sockaddr_in target;
    uint32_t count, concurrency, messages, sources, source, timeout_s;
    uint64_t bytes;
    enum secrecy secrecy;
    bool auth, steps;
} options = {.count = 1000, .concurrency = 16, .messages = 1, .sources = 1, .timeout_s = 120, .bytes = 2048};

enum state { CLOSED, CONNECTING, HANDSHAKING, WAITING, SENDING, CLOSING };
enum step { GREETED, HELLO, ASK_TLS, HELLO_AGAIN, AUTH, MAIL, RCPT, DATA, MESSAGE, QUIT };
static const char *const codes[] = {"220", "250", "220", "250", "235", "250", "250", "354", "250", "221"};
static const char *const commands[] = {
    NULL, "EHLO client.bench.example\r\n", "STARTTLS\r\n", "EHLO client.bench.example\r\n",
    "AUTH PLAIN AGJlbmNoQGV4YW1wbGUub3JnAHNlY3JldA==\r\n", /* bench@example.org, secret */
    "MAIL FROM:<sender@bench.example>\r\n", "RCPT TO:<receiver@example.org>\r\n", "DATA\r\n", NULL, "QUIT\r\n"};

struct client {
    int fd;
    uint32_t number, sent, tag;
    enum state state;
    enum step step; /* what an answer is waited for */
    bool writes;
    SSL *ssl;
    char text[2048]; /* the answer as far as it has come */
    size_t text_length;
    uint64_t position, size; /* of the message, behind its first line */
    uint64_t began_ns;
};

static struct {
    uint32_t done, failed, messages, tags, slow_closes;
    uint64_t bytes, began_ns, ended_ns;
    char first_error[256], cipher[64], group[32];
} result;

static int epoll;
static SSL_CTX *context;
static struct client *clients;
static unsigned char shared[CHUNK_BYTES];

static void watch(struct client *client, bool writes)
{
    struct epoll_event event = {.events = writes ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = client};
    if (client->writes == writes)
        return;
    client->writes = writes;
    epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event);
}

static void drop(struct client *client)
{
    SSL_free(client->ssl);
    close(client->fd);
    client->ssl = NULL;
    client->fd = -1;
    client->state = CLOSED;
}

static void fail(struct client *client, const char *what)
{
    unsigned long code = ERR_get_error();
    if (result.failed++ == 0)
        snprintf(result.first_error, sizeof result.first_error, "%s at step %d: %s", what, client->step,
                 code ? ERR_reason_error_string(code) : strerror(errno));
    ERR_clear_error();
    drop(client);
}

/* As many as can be written now; 0 for none, and after a failure the state is CLOSED. */
static size_t put(struct client *client, const void *bytes, size_t size)
{
    size_t done = 0;
    if (client->ssl) {
        if (SSL_write_ex(client->ssl, bytes, size, &done) != 1 && SSL_get_error(client->ssl, 0) != SSL_ERROR_WANT_WRITE)
            fail(client, "write");
        return done;
    }
    ssize_t sent = send(client->fd, bytes, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        fail(client, "write");
    return sent > 0 ? (size_t)sent : 0;
}

/* ---- a message ---- */

static void wait_for(struct client *client, enum step step)
{
    client->state = WAITING;
    client->step = step;
    client->text_length = 0;
    watch(client, false);
}

/* Copies a part of the message, or of the line that ends it, to where it is sent from; returns how much. */
static size_t message_part(const struct client *client, unsigned char *into, size_t room)
{
    size_t length = 0;
    uint64_t position = client->position;
    while (length < room && position < client->size) {
        size_t part = room - length < client->size - position ? room - length : (size_t)(client->size - position);
        memcpy(into + length, mail_at(client->tag, position, &part), part);
        if ((uint64_t)corrupt_at >= position && (uint64_t)corrupt_at < position + part)
            into[length + (uint64_t)corrupt_at - position] ^= 1;
        length += part;
        position += part;
    }
    while (length < room && position < client->size + 3)
        into[length++] = (unsigned char)".\r\n"[position++ - client->size];
    return length;
}

static void send_message(struct client *client)
{
    while (client->position < client->size + 3) {
        size_t length = message_part(client, shared, client->ssl ? SMALL_BYTES : sizeof shared);
        size_t done = put(client, shared, length);
        if (client->state == CLOSED)
            return;
        client->position += done;
        result.bytes += done;
        if (done < length) {
            watch(client, true);
            return;
        }
    }
    wait_for(client, MESSAGE);
}

static void start_message(struct client *client)
{
    size_t mark;
    client->tag = ++result.tags;
    client->size = mail_size(options.bytes);
    client->position = 0;
    client->state = SENDING;
    mark = (size_t)sprintf((char *)shared, MARK "%08x %llu\r\n", client->tag, (unsigned long long)client->size);
    size_t length = mark + message_part(client, shared + mark, SMALL_BYTES - mark);
    size_t done = put(client, shared, length);
    if (client->state == CLOSED)
        return;
    if (done < mark) { /* cannot be: there is room for so much */
        fail(client, "no room");
        return;
    }
    client->position = done - mark;
    result.bytes += done;
    send_message(client);
}

/* ---- one command after the other ---- */

static void handshake(struct client *client)
{
    int done = SSL_connect(client->ssl);
    if (done == 1) {
        if (result.cipher[0] == 0) {
            snprintf(result.cipher, sizeof result.cipher, "%s", SSL_get_cipher_name(client->ssl));
            snprintf(result.group, sizeof result.group, "%s",
                     OBJ_nid2sn((int)(SSL_get_negotiated_group(client->ssl) & 0xffff)));
        }
        wait_for(client, options.secrecy == TLS ? GREETED : HELLO_AGAIN);
        if (options.secrecy == STARTTLS)
            put(client, commands[HELLO_AGAIN], strlen(commands[HELLO_AGAIN]));
        return;
    }
    int error = SSL_get_error(client->ssl, done);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        watch(client, error == SSL_ERROR_WANT_WRITE);
    else
        fail(client, "handshake");
}

static void start_tls(struct client *client)
{
    client->state = HANDSHAKING;
    client->ssl = SSL_new(context);
    SSL_set_fd(client->ssl, client->fd);
    handshake(client);
}

static void close_after_us(struct client *client)
{
    result.done++;
    if (client->ssl)
        SSL_shutdown(client->ssl);
    shutdown(client->fd, SHUT_WR);
    watch(client, false);
    client->state = CLOSING;
    client->began_ns = now_ns();
}

static enum step next_step(const struct client *client)
{
    switch (client->step) {
    case GREETED: return HELLO;
    case HELLO: return options.secrecy == STARTTLS ? ASK_TLS : options.auth ? AUTH : MAIL;
    case HELLO_AGAIN: return options.auth ? AUTH : MAIL;
    case MESSAGE: return client->sent < options.messages ? MAIL : QUIT;
    default: return client->step + 1;
    }
}

static void answered(struct client *client)
{
    char tag[16];
    if (strncmp(client->text, codes[client->step], 3) != 0) {
        fail(client, client->text);
        return;
    }
    if (client->step == MESSAGE) {
        snprintf(tag, sizeof tag, " %08x ", client->tag);
        if (!strstr(client->text, tag)) {
            fail(client, "the answer to another message");
            return;
        }
        client->sent++;
        result.messages++;
    }
    if (client->step == ASK_TLS) {
        start_tls(client);
    } else if (client->step == DATA) {
        start_message(client);
    } else if (client->step == QUIT) {
        close_after_us(client);
    } else {
        wait_for(client, next_step(client));
        if (put(client, commands[client->step], strlen(commands[client->step])) == 0 && client->state != CLOSED)
            fail(client, "no room");
    }
}

/* An answer has one line or more; the last has a space behind its code. */
static void take_text(struct client *client, const unsigned char *bytes, size_t size)
{
    if (client->text_length + size >= sizeof client->text) {
        fail(client, "too much text");
        return;
    }
    memcpy(client->text + client->text_length, bytes, size);
    client->text_length += size;
    client->text[client->text_length] = 0;
    if (client->text_length < 6 || client->text[client->text_length - 1] != '\n')
        return;
    const char *before = memrchr(client->text, '\n', client->text_length - 1);
    const char *last = before ? before + 1 : client->text;
    if (strlen(last) > 4 && last[3] == ' ')
        answered(client);
}

static void readable(struct client *client)
{
    size_t size = 0;
    if (client->ssl) {
        while (client->state == WAITING && client->ssl && SSL_read_ex(client->ssl, shared, 2048, &size))
            take_text(client, shared, size);
        if (client->state == WAITING && SSL_get_error(client->ssl, 0) != SSL_ERROR_WANT_READ)
            fail(client, "closed");
        return;
    }
    ssize_t got = recv(client->fd, shared, 2048, 0);
    if (got > 0 && client->state == WAITING)
        take_text(client, shared, (size_t)got);
    else if (got >= 0 || errno != EAGAIN)
        fail(client, got > 0 ? "an answer to half a message" : "closed");
}

static void handle(struct client *client, uint32_t events)
{
    int error = 0;
    socklen_t length = sizeof error;
    switch (client->state) {
    case CONNECTING:
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        errno = error;
        if (error)
            fail(client, "connect");
        else if (options.secrecy == TLS)
            start_tls(client);
        else
            wait_for(client, GREETED);
        break;
    case HANDSHAKING:
        handshake(client);
        break;
    case SENDING:
        if (events & EPOLLOUT)
            send_message(client);
        else
            readable(client);
        break;
    case WAITING:
        readable(client);
        break;
    case CLOSING: {
        ssize_t size = recv(client->fd, shared, sizeof shared, 0);
        if (size == 0 || (size < 0 && errno != EAGAIN))
            drop(client);
        break;
    }
    default:
        break;
    }
}

/* ---- sessions ---- */

static void open_client(struct client *client)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = client};
    int one = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    client->state = CONNECTING;
    client->step = GREETED;
    client->writes = true;
    client->sent = 0;
    if (options.source) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(options.source + client->number % options.sources);
        setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(client->fd, (struct sockaddr *)&from, sizeof from) != 0) {
            fail(client, "bind");
            return;
        }
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->fd, (struct sockaddr *)&options.target, sizeof options.target) != 0 && errno != EINPROGRESS) {
        fail(client, "connect");
        return;
    }
    epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event);
}

static void turn(void)
{
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(epoll, events, MAX_EVENTS, 1000);
    for (int i = 0; i < count; i++)
        handle(events[i].data.ptr, events[i].events);
    if (now_ns() - result.began_ns > options.timeout_s * 1000000000ULL) {
        printf("{\"event\": \"timeout\", \"done\": %u, \"failed\": %u, \"first_error\": \"%s\"}\n", result.done,
               result.failed, result.first_error);
        exit(2);
    }
}

static void run_sessions(void)
{
    uint32_t opened = 0, open;
    do {
        open = 0;
        for (uint32_t i = 0; i < options.concurrency; i++) {
            struct client *client = &clients[i];
            if (client->state == CLOSING && now_ns() - client->began_ns > CLOSE_PATIENCE_NS) {
                result.slow_closes++;
                drop(client);
            }
            if (client->state == CLOSED && opened < options.count && result.failed < 10) {
                opened++;
                client->number = opened;
                open_client(client);
            }
            open += client->state != CLOSED;
        }
        if (open > 0)
            turn();
    } while ((open > 0 || opened < options.count) && result.failed < 10);
}

/* ---- telling, options ---- */

static void wait_for_line(void)
{
    char ignored[64];
    fflush(stdout);
    if (options.steps && !fgets(ignored, sizeof ignored, stdin))
        exit(0);
}

static void report(void)
{
    for (char *c = result.first_error; *c; c++)
        if (*c == '"' || *c == '\\' || *c < ' ')
            *c = '.';
    printf("{\"event\": \"result\", \"done\": %u, \"failed\": %u, \"messages\": %u, \"slow_closes\": %u, \"bytes\": %llu, "
           "\"seconds\": %.6f, \"cipher\": \"%s\", \"group\": \"%s\", \"first_error\": \"%s\"}\n",
           result.done, result.failed, result.messages, result.slow_closes, (unsigned long long)result.bytes,
           (double)(result.ended_ns - result.began_ns) / 1e9, result.cipher, result.group, result.first_error);
}

static const struct option option_names[] = {
    {"target", 1, NULL, 't'}, {"count", 1, NULL, 'n'},   {"concurrency", 1, NULL, 'c'}, {"messages", 1, NULL, 'm'},
    {"bytes", 1, NULL, 'b'},  {"source", 1, NULL, 'a'},  {"sources", 1, NULL, 'A'},     {"secrecy", 1, NULL, 's'},
    {"auth", 0, NULL, 'u'},   {"timeout", 1, NULL, 'T'}, {"steps", 0, NULL, 'S'},       {NULL, 0, NULL, 0},
};

static void usage(void)
{
    fprintf(stderr, "usage: smtpload --target ADDRESS:PORT\n"
                    "  --count N         sessions (1000)\n"
                    "  --concurrency N   of them at once (16)\n"
                    "  --messages N      in each session (1)\n"
                    "  --bytes N         in each message, about (2048)\n"
                    "  --secrecy WORD    plain, starttls, or tls from the first byte (plain)\n"
                    "  --auth            AUTH PLAIN as bench@example.org with the password secret\n"
                    "  --source IP --sources N   connect from N addresses, beginning with IP\n"
                    "  --timeout S       give up after so many seconds (120)\n"
                    "  --steps           wait for a line after ready, and after the result\n");
    exit(2);
}

static void parse_options(int argc, char **argv)
{
    int name;
    while ((name = getopt_long(argc, argv, "", option_names, NULL)) != -1) {
        uint32_t number = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        switch (name) {
        case 't': options.target = parse_address(optarg); break;
        case 'n': options.count = number; break;
        case 'c': options.concurrency = number; break;
        case 'm': options.messages = number; break;
        case 'b': options.bytes = strtoull(optarg, NULL, 10); break;
        case 'a': options.source = ntohl(inet_addr(optarg)); break;
        case 'A': options.sources = number; break;
        case 'T': options.timeout_s = number; break;
        case 'u': options.auth = true; break;
        case 'S': options.steps = true; break;
        case 's':
            while (secrecy_names[options.secrecy] && strcmp(optarg, secrecy_names[options.secrecy]) != 0)
                options.secrecy++;
            break;
        default: usage();
        }
    }
    if (options.target.sin_port == 0 || options.count == 0 || options.concurrency == 0 || options.messages == 0 ||
        options.sources == 0 || options.bytes == 0 || !secrecy_names[options.secrecy])
        usage();
}

int main(int argc, char **argv)
{
    struct rlimit files;
    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    mail_fill();
    if (getenv("CORRUPT_AT"))
        corrupt_at = atoll(getenv("CORRUPT_AT"));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set1_groups_list(context, "X25519");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    clients = calloc(options.concurrency, sizeof *clients);
    if (!clients)
        return 2;
    puts("{\"event\": \"ready\"}");
    wait_for_line();
    result.began_ns = now_ns();
    run_sessions();
    result.ended_ns = now_ns();
    report();
    wait_for_line();
    return result.failed > 0;
}
