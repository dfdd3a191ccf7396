/* The load of the benchmark: TLS clients in one process, each byte they receive compared.
 *
 *   loadgen MODE --target ADDRESS:PORT [options]
 *
 * Modes, and what is counted:
 *   handshake   connections up to the greeting, then closed        --count, --concurrency
 *   resumed     the same with a session ticket of the one before
 *   login       the same with LOGIN answered by OK
 *   roundtrip   60 bytes up, 120 down, in sessions logged in before --count, --sessions, --outstanding, --interval
 *   down, up    bulk data in such sessions                          --sessions, --bytes (each)
 *   idle        opens such sessions; then --bytes down and up in each; holds them
 *   flood       connects that the other side must close             --count, --concurrency, --rate, --holders
 *
 * With --steps it prints {"event": "ready"} when all is prepared and waits for a line; prints the result; waits for
 * another line before it closes: what is to be measured lies between. The result is one line of JSON. The exit status
 * is 1 if a connection failed or a byte was wrong. CORRUPT_AT in the environment spoils that byte of every upload. */

#define _GNU_SOURCE
#include "common.h"

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
#define MAX_COUNT 5000000
#define CLOSE_PATIENCE_NS 5000000000ULL

enum mode { HANDSHAKE, RESUMED, LOGIN, ROUNDTRIP, DOWN, UP, IDLE, FLOOD };
static const char *const mode_names[] = {"handshake", "resumed", "login", "roundtrip", "down", "up", "idle", "flood"};

static struct {
    enum mode mode;
    struct sockaddr_in target;
    uint32_t count, concurrency, sessions, outstanding, sources, holders, rate, interval_ms, timeout_s;
    uint64_t bytes;
    uint32_t source;
    const char *user, *password, *ciphers;
    int tls_version;
    bool steps;
} options = {.count = 1000, .concurrency = 16, .sessions = 64, .sources = 1, .timeout_s = 120, .bytes = 262144,
             .user = "bench", .password = "secret", .tls_version = TLS1_3_VERSION};

enum state { CLOSED, CONNECTING, HANDSHAKING, GREETING, LOGGING_IN, READY, WORKING, CLOSING, FLOODING };

struct client {
    int fd;
    uint32_t number;
    enum state state;
    bool wants_write, holder;
    SSL *ssl;
    SSL_SESSION *session; /* the last ticket, for RESUMED */
    char text[1024];      /* what has been said before READY */
    size_t text_length;
    uint32_t tag, rounds;
    uint64_t up_left, down_left, position;
    char expected[ECHO_ANSWER + 1]; /* what must follow the bulk data */
    size_t expected_length, expected_at;
    uint64_t began_ns;
};

static struct {
    uint32_t done, failed, resumed, tickets, answered, opening, in_flight, started, slow_closes;
    uint64_t bytes, began_ns, ended_ns;
    char first_error[256], cipher[64], group[32], key[32];
} result;

static int epoll;
static bool running; /* false while sessions are opened */
static SSL_CTX *context;
static struct client *clients, **queue;
static uint32_t client_count, queue_head, queue_length, *latencies, latency_count;
static unsigned char shared[CHUNK_BYTES];

static void watch(struct client *client, bool writes)
{
    struct epoll_event event = {.events = writes ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = client};
    if (client->wants_write == writes)
        return;
    client->wants_write = writes;
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
        snprintf(result.first_error, sizeof result.first_error, "%s in state %d: %s", what, client->state,
                 code ? ERR_reason_error_string(code) : strerror(errno));
    ERR_clear_error();
    drop(client);
}

static void close_after_us(struct client *client)
{
    SSL_shutdown(client->ssl);
    shutdown(client->fd, SHUT_WR);
    watch(client, false);
    client->state = CLOSING;
    client->began_ns = now_ns();
}

static void record_latency(const struct client *client)
{
    uint64_t taken = now_ns() - client->began_ns;
    if (latency_count < MAX_COUNT)
        latencies[latency_count++] = taken < UINT32_MAX ? (uint32_t)taken : UINT32_MAX;
}

static void enqueue(struct client *client)
{
    queue[(queue_head + queue_length++) % client_count] = client;
}

/* ---- work in a session that is logged in ---- */

static void send_upload(struct client *client)
{
    while (client->up_left > 0) {
        size_t size = client->up_left < CHUNK_BYTES ? (size_t)client->up_left : CHUNK_BYTES, done;
        const unsigned char *bytes = pattern_at(client->position);
        if (corrupt_at >= 0)
            bytes = spoil(shared, bytes, options.bytes - client->up_left, size);
        if (SSL_write_ex(client->ssl, bytes, size, &done) != 1) {
            if (SSL_get_error(client->ssl, 0) == SSL_ERROR_WANT_WRITE)
                watch(client, true);
            else if (SSL_get_error(client->ssl, 0) != SSL_ERROR_WANT_READ)
                fail(client, "upload");
            return;
        }
        client->up_left -= done;
        client->position += done;
        result.bytes += done;
    }
    watch(client, false);
}

/* Commands are sent only when everything before them has been answered, so they fit into the socket. */
static void send_text(struct client *client, const char *text)
{
    size_t done;
    if (SSL_write_ex(client->ssl, text, strlen(text), &done) != 1)
        fail(client, "command");
}

static void expect(struct client *client)
{
    client->expected_length = strlen(client->expected);
    client->expected_at = 0;
    client->state = WORKING;
    client->began_ns = now_ns();
}

static void ask_echo(struct client *client)
{
    char text[ECHO_REQUEST + 1], tag[9], payload[ECHO_PAYLOAD + 1];
    snprintf(tag, sizeof tag, "%08x", client->tag);
    snprintf(payload, sizeof payload, "%08x%08x-abcdefghijklmnopqrstuvwxyz.", client->number, client->rounds++);
    snprintf(text, sizeof text, "%s ECHO %s\r\n", tag, payload);
    echo_answer(client->expected, tag, payload);
    expect(client);
    send_text(client, text);
}

static void ask_bulk(struct client *client, bool down)
{
    const char *word = down ? "DOWN" : "UP";
    unsigned long long size = options.bytes;
    char text[64];
    snprintf(text, sizeof text, "%08x %s %llu\r\n", client->tag, word, size);
    snprintf(client->expected, sizeof client->expected, "%08x OK %s %llu\r\n", client->tag, word, size);
    client->position = pattern_start(client->tag);
    *(down ? &client->down_left : &client->up_left) = size;
    expect(client);
    send_text(client, text);
    if (client->state == WORKING && !down)
        send_upload(client);
}

static void start_work(struct client *client)
{
    result.in_flight++;
    result.started++;
    client->tag++;
    if (options.mode == ROUNDTRIP)
        ask_echo(client);
    else
        ask_bulk(client, options.mode == DOWN || (options.mode == IDLE && client->tag % 2 == 1));
}

static void work_done(struct client *client)
{
    client->state = READY;
    record_latency(client);
    result.in_flight--;
    if (options.mode == IDLE && client->tag % 2 == 1) {
        start_work(client);
        return;
    }
    result.done++;
    enqueue(client);
}

/* ---- what comes in ---- */

static void greeted(struct client *client)
{
    char text[256];
    if (options.mode == HANDSHAKE || options.mode == RESUMED) {
        result.done++;
        record_latency(client);
        close_after_us(client);
        return;
    }
    snprintf(text, sizeof text, "a1 LOGIN %s %s\r\n", options.user, options.password);
    client->text_length = 0;
    client->state = LOGGING_IN;
    send_text(client, text);
}

static void logged_in(struct client *client)
{
    if (options.mode == LOGIN) {
        result.done++;
        record_latency(client);
        close_after_us(client);
        return;
    }
    result.opening--;
    client->state = READY;
    if (!client->holder)
        enqueue(client);
}

/* Lines before READY: the greeting, and the answer to LOGIN with untagged lines before it. */
static void take_text(struct client *client, const unsigned char *bytes, size_t size)
{
    if (client->text_length + size >= sizeof client->text) {
        fail(client, "too much text");
        return;
    }
    memcpy(client->text + client->text_length, bytes, size);
    client->text_length += size;
    client->text[client->text_length] = 0;
    if (client->text_length < 2 || strcmp(client->text + client->text_length - 2, "\r\n") != 0)
        return;
    if (client->state == GREETING) {
        if (strncmp(client->text, "* OK ", 5) == 0)
            greeted(client);
        else
            fail(client, client->text);
    } else if (strncmp(client->text, "a1 OK ", 6) == 0 || strstr(client->text, "\r\na1 OK ")) {
        logged_in(client);
    } else if (strncmp(client->text, "* ", 2) != 0 || strstr(client->text, "\r\na1 ")) {
        fail(client, client->text);
    }
}

static void take_answer(struct client *client, const unsigned char *bytes, size_t size)
{
    if (client->down_left > 0) {
        size_t part = size < client->down_left ? size : (size_t)client->down_left;
        if (memcmp(bytes, pattern_at(client->position), part) != 0) {
            fail(client, "a byte of the download is wrong");
            return;
        }
        client->down_left -= part;
        client->position += part;
        result.bytes += part;
        bytes += part;
        size -= part;
    }
    if (size > client->expected_length - client->expected_at ||
        memcmp(bytes, client->expected + client->expected_at, size) != 0) {
        fail(client, "another answer");
        return;
    }
    client->expected_at += size;
    if (client->expected_at == client->expected_length)
        work_done(client);
}

static void readable(struct client *client)
{
    size_t size;
    while (client->state >= GREETING && client->state <= WORKING && SSL_read_ex(client->ssl, shared, sizeof shared, &size))
        switch (client->state) {
        case GREETING:
        case LOGGING_IN:
            take_text(client, shared, size);
            break;
        case WORKING:
            take_answer(client, shared, size);
            break;
        default:
            fail(client, "unasked bytes");
        }
    if (client->state < GREETING || client->state > WORKING)
        return;
    if (SSL_get_error(client->ssl, 0) != SSL_ERROR_WANT_READ)
        fail(client, "closed");
}

static void note_tls(struct client *client)
{
    EVP_PKEY *key = SSL_get0_peer_certificate(client->ssl) ? X509_get0_pubkey(SSL_get0_peer_certificate(client->ssl)) : NULL;
    snprintf(result.cipher, sizeof result.cipher, "%s", SSL_get_cipher_name(client->ssl));
    snprintf(result.group, sizeof result.group, "%s",
             OBJ_nid2sn((int)(SSL_get_negotiated_group(client->ssl) & 0xffff)));
    if (key)
        snprintf(result.key, sizeof result.key, "%s-%d", EVP_PKEY_get0_type_name(key), EVP_PKEY_get_bits(key));
}

static void handshake(struct client *client)
{
    int done = SSL_connect(client->ssl);
    if (done == 1) {
        if (result.cipher[0] == 0)
            note_tls(client);
        result.resumed += running && SSL_session_reused(client->ssl);
        client->state = GREETING;
        watch(client, false);
        readable(client);
        return;
    }
    int error = SSL_get_error(client->ssl, done);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        watch(client, error == SSL_ERROR_WANT_WRITE);
    else
        fail(client, "handshake");
}

static int ticket_came(SSL *ssl, SSL_SESSION *session)
{
    struct client *client = SSL_get_app_data(ssl);
    SSL_SESSION_free(client->session);
    client->session = session;
    result.tickets += running;
    return 1;
}

/* A refusal is a close without a word, or with one. */
static void flooded(struct client *client)
{
    char text[512];
    ssize_t size = recv(client->fd, text, sizeof text, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size > 0) {
        result.answered++;
        return;
    }
    if (size < 0 && errno == ECONNREFUSED) {
        fail(client, "nobody listens");
        return;
    }
    record_latency(client);
    result.done++;
    result.in_flight--;
    drop(client);
}

static void drained(struct client *client)
{
    ssize_t size = recv(client->fd, shared, sizeof shared, 0);
    if (size > 0 || (size < 0 && errno == EAGAIN))
        return;
    drop(client);
}

static void handle(struct client *client, uint32_t events)
{
    switch (client->state) {
    case CONNECTING: {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        errno = error;
        if (error)
            fail(client, "connect");
        else
            handshake((client->state = HANDSHAKING, client));
        break;
    }
    case HANDSHAKING:
        handshake(client);
        break;
    case FLOODING:
        flooded(client);
        break;
    case CLOSING:
        drained(client);
        break;
    case CLOSED:
        break;
    default:
        if (client->up_left > 0 && events & EPOLLOUT)
            send_upload(client);
        if (client->state != CLOSED && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            readable(client);
    }
}

/* ---- opening ---- */

static void open_client(struct client *client, bool floods)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = client};
    int one = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    client->state = floods ? FLOODING : CONNECTING;
    client->wants_write = !floods;
    client->text_length = 0;
    client->up_left = client->down_left = 0;
    client->tag = client->number << 12;
    client->began_ns = now_ns();
    if (options.source) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(options.source + client->number % options.sources);
        setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        bind(client->fd, (struct sockaddr *)&from, sizeof from);
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (client->fd < 0 || (connect(client->fd, (struct sockaddr *)&options.target, sizeof options.target) != 0 &&
                           errno != EINPROGRESS)) {
        fail(client, "connect");
        return;
    }
    if (!floods) {
        client->ssl = SSL_new(context);
        SSL_set_fd(client->ssl, client->fd);
        SSL_set_app_data(client->ssl, client);
        if (client->session && options.mode == RESUMED)
            SSL_set_session(client->ssl, client->session);
    } else {
        event.events = EPOLLIN;
    }
    epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event);
}

static void turn(void)
{
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(epoll, events, MAX_EVENTS, options.rate || options.interval_ms ? 1 : 1000);
    for (int i = 0; i < count; i++)
        handle(events[i].data.ptr, events[i].events);
    if (now_ns() - result.began_ns > options.timeout_s * 1000000000ULL) {
        printf("{\"event\": \"timeout\", \"done\": %u, \"failed\": %u, \"opening\": %u, \"first_error\": \"%s\"}\n",
               result.done, result.failed, result.opening, result.first_error);
        exit(2);
    }
}

static void forget_slow(struct client *client)
{
    if (client->state == CLOSING && now_ns() - client->began_ns > CLOSE_PATIENCE_NS) {
        result.slow_closes++;
        drop(client);
    }
}

/* Connections in slots, each opened anew when it has ended, until there were enough of them. */
static void run_slots(uint32_t first, uint32_t count, uint32_t slots, bool floods)
{
    uint32_t opened = 0, open;
    uint64_t began = now_ns();
    do {
        open = 0;
        for (uint32_t i = first; i < first + slots; i++) {
            struct client *client = &clients[i];
            uint64_t due = options.rate ? (now_ns() - began) * options.rate / 1000000000ULL : UINT64_MAX;
            forget_slow(client);
            if (client->state == CLOSED && opened < count && opened < due && result.failed < 10) {
                opened++;
                result.in_flight += floods;
                open_client(client, floods);
            }
            open += client->state != CLOSED;
        }
        if (open > 0 || opened < count)
            turn();
    } while ((open > 0 || opened < count) && result.failed < 10);
}

static void open_sessions(uint32_t first, uint32_t count)
{
    uint32_t opened = 0;
    while ((opened < count || result.opening > 0) && result.failed == 0) {
        while (opened < count && result.opening < options.concurrency) {
            struct client *client = &clients[first + opened++];
            client->holder = options.mode == FLOOD;
            result.opening++;
            open_client(client, false);
        }
        turn();
    }
}

/* Never more than so many requests on their way, in turn from all sessions. */
static void run_sessions(uint32_t count)
{
    while (result.done < count && result.failed == 0) {
        for (uint32_t seen = queue_length; seen > 0 && result.in_flight < options.outstanding; seen--) {
            struct client *client = queue[queue_head];
            queue_head = (queue_head + 1) % client_count;
            queue_length--;
            if (options.interval_ms && now_ns() - client->began_ns < options.interval_ms * 1000000ULL)
                enqueue(client);
            else if (options.mode == IDLE ? client->tag % 4096 == 0 : result.started < count)
                start_work(client);
        }
        turn();
    }
}

/* ---- telling ---- */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(unsigned percent)
{
    return latency_count ? latencies[(uint64_t)(latency_count - 1) * percent / 100] / 1000.0 : 0;
}

static void wait_for_line(void)
{
    char ignored[64];
    fflush(stdout);
    if (options.steps && !fgets(ignored, sizeof ignored, stdin))
        exit(0);
}

static void report(void)
{
    qsort(latencies, latency_count, sizeof *latencies, by_size);
    for (char *c = result.first_error; *c; c++)
        if (*c == '"' || *c == '\\' || *c < ' ')
            *c = '.';
    printf("{\"event\": \"result\", \"mode\": \"%s\", \"done\": %u, \"failed\": %u, \"resumed\": %u, \"tickets\": %u, \"answered\": %u, "
           "\"slow_closes\": %u, \"bytes\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"cipher\": \"%s\", \"group\": \"%s\", \"key\": \"%s\", \"first_error\": \"%s\"}\n",
           mode_names[options.mode], result.done, result.failed, result.resumed, result.tickets, result.answered, result.slow_closes,
           (unsigned long long)result.bytes, (double)(result.ended_ns - result.began_ns) / 1e9, percentile_us(50),
           percentile_us(99), result.cipher, result.group, result.key, result.first_error);
}

static void run(void)
{
    bool has_sessions = options.mode >= ROUNDTRIP && options.mode <= IDLE;
    result.began_ns = now_ns();
    if (has_sessions)
        open_sessions(0, options.sessions);
    if (options.mode == FLOOD)
        open_sessions(0, options.holders);
    if (options.mode == RESUMED)
        run_slots(0, options.concurrency, options.concurrency, false);
    if (result.failed > 0) {
        report();
        return;
    }
    puts("{\"event\": \"ready\"}");
    wait_for_line();
    result.done = 0;
    latency_count = 0;
    running = true;
    result.began_ns = now_ns();
    if (has_sessions)
        run_sessions(options.mode == ROUNDTRIP ? options.count : options.sessions);
    else
        run_slots(options.holders, options.count, options.concurrency, options.mode == FLOOD);
    result.ended_ns = now_ns();
    report();
    wait_for_line();
    result.began_ns = now_ns();
    for (uint32_t i = 0, left = 1; left && result.failed == 0;) {
        for (i = 0, left = 0; i < client_count; i++) {
            if (clients[i].state == READY)
                close_after_us(&clients[i]);
            forget_slow(&clients[i]);
            left += clients[i].state == CLOSING;
        }
        if (left)
            turn();
    }
}

/* ---- options ---- */

static const struct option option_names[] = {
    {"target", 1, NULL, 't'},   {"count", 1, NULL, 'n'},       {"concurrency", 1, NULL, 'c'}, {"sessions", 1, NULL, 's'},
    {"bytes", 1, NULL, 'b'},    {"outstanding", 1, NULL, 'o'}, {"source", 1, NULL, 'a'},      {"sources", 1, NULL, 'A'},
    {"holders", 1, NULL, 'h'},  {"rate", 1, NULL, 'r'},        {"interval", 1, NULL, 'i'},    {"timeout", 1, NULL, 'T'},
    {"user", 1, NULL, 'u'},     {"password", 1, NULL, 'p'},    {"tls12", 0, NULL, '2'},       {"steps", 0, NULL, 'S'},
    {NULL, 0, NULL, 0},
};

static void usage(void)
{
    fprintf(stderr,
            "usage: loadgen handshake|resumed|login|roundtrip|down|up|idle|flood --target ADDRESS:PORT\n"
            "  --count N        connections, or round trips in all (1000)\n"
            "  --concurrency N  connections that are being opened at once (16)\n"
            "  --sessions N     sessions that are logged in before (64)\n"
            "  --outstanding N  requests on their way at once (as many as sessions)\n"
            "  --interval MS    each session's pause between two requests (0)\n"
            "  --bytes N        bulk data each session gets or sends (262144)\n"
            "  --source IP --sources N   connect from N addresses, beginning with IP\n"
            "  --holders N      flood: sessions that fill the address's cap (0)\n"
            "  --rate N         new connections a second at most (no limit)\n"
            "  --user NAME --password TEXT   for LOGIN\n"
            "  --tls12          TLS 1.2 instead of 1.3\n"
            "  --timeout S      give up after so many seconds (120)\n"
            "  --steps          wait for a line after ready, and after the result\n");
    exit(2);
}

static void parse_options(int argc, char **argv)
{
    int name;
    while (options.mode <= FLOOD && argc > 1 && strcmp(argv[1], mode_names[options.mode]) != 0)
        if (options.mode++ == FLOOD)
            usage();
    while ((name = getopt_long(argc - 1, argv + 1, "", option_names, NULL)) != -1) {
        uint32_t number = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        switch (name) {
        case 't': options.target = parse_address(optarg); break;
        case 'n': options.count = number; break;
        case 'c': options.concurrency = number; break;
        case 's': options.sessions = number; break;
        case 'b': options.bytes = strtoull(optarg, NULL, 10); break;
        case 'o': options.outstanding = number; break;
        case 'a': options.source = ntohl(inet_addr(optarg)); break;
        case 'A': options.sources = number; break;
        case 'h': options.holders = number; break;
        case 'r': options.rate = number; break;
        case 'i': options.interval_ms = number; break;
        case 'T': options.timeout_s = number; break;
        case 'u': options.user = optarg; break;
        case 'p': options.password = optarg; break;
        case '2': options.tls_version = TLS1_2_VERSION; break;
        case 'S': options.steps = true; break;
        default: usage();
        }
    }
    if (argc < 2 || options.target.sin_port == 0 || options.count == 0 || options.count > MAX_COUNT ||
        options.concurrency == 0 || options.sessions == 0 || options.sources == 0 || options.bytes == 0)
        usage();
    if (options.outstanding == 0)
        options.outstanding = options.mode == IDLE ? 16 : options.sessions;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    pattern_fill();
    if (getenv("CORRUPT_AT"))
        corrupt_at = atoll(getenv("CORRUPT_AT"));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, options.tls_version);
    SSL_CTX_set_max_proto_version(context, options.tls_version);
    SSL_CTX_set1_groups_list(context, "X25519");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, ticket_came);
    client_count = options.mode >= ROUNDTRIP && options.mode <= IDLE ? options.sessions : options.holders + options.concurrency;
    clients = calloc(client_count, sizeof *clients);
    queue = calloc(client_count, sizeof *queue);
    latencies = calloc(MAX_COUNT, sizeof *latencies);
    if (!clients || !queue || !latencies)
        return 2;
    for (uint32_t i = 0; i < client_count; i++)
        clients[i].number = i;
    run();
    return result.failed > 0;
}
