/* What the load generator and the backend agree on: the pattern of bulk data, the text of answers, the clock.
 *
 * Every byte that passes is compared with what it must be. Bulk data is a block of pseudo-random bytes, repeated; its
 * length is a prime, so that a lost, doubled or swapped TLS record (16,384 bytes) never goes unseen, and where it
 * begins depends on the tag of the command, so that bytes of another session do not pass either. */

#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATTERN_BYTES 65521 /* the largest prime below 65,536 */
#define CHUNK_BYTES 65536   /* as much as can be read from pattern_at() */
#define ECHO_PAYLOAD 44     /* makes a request of 60 bytes and an answer of 120 */
#define ECHO_REQUEST 60
#define ECHO_ANSWER 120

static unsigned char pattern_block[PATTERN_BYTES + CHUNK_BYTES];

static inline void pattern_fill(void)
{
    uint64_t x = 88172645463325252ULL; /* Marsaglia's xorshift64 */
    for (size_t i = 0; i < sizeof pattern_block; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        pattern_block[i] = i < PATTERN_BYTES ? (unsigned char)x : pattern_block[i - PATTERN_BYTES];
    }
}

/* Where the data of one command begins. */
static inline uint64_t pattern_start(uint32_t tag) { return (uint64_t)tag * 7919 % PATTERN_BYTES; }

/* CHUNK_BYTES bytes of the pattern from a position on. */
static inline const unsigned char *pattern_at(uint64_t position) { return pattern_block + position % PATTERN_BYTES; }

/* To prove the check: the byte at this position of bulk data is changed on its way out. */
static long long corrupt_at = -1;

static inline const unsigned char *spoil(unsigned char *copy, const unsigned char *bytes, uint64_t sent, size_t size)
{
    memcpy(copy, bytes, size);
    if ((uint64_t)corrupt_at >= sent && (uint64_t)corrupt_at < sent + size)
        copy[(uint64_t)corrupt_at - sent] ^= 1;
    return copy;
}

/* The answer to an ECHO, ECHO_ANSWER bytes and a terminating zero. */
static inline void echo_answer(char *into, const char *tag, const char *payload)
{
    snprintf(into, ECHO_ANSWER + 1, "* ECHOED %.44s\r\n%.8s OK ECHOED %.44s\r\n", payload, tag, payload);
}

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

/* "127.0.0.1:1143" as an address; ends the program if it is none. */
static inline struct sockaddr_in parse_address(const char *text)
{
    struct sockaddr_in found = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    if (length == 0 || length >= sizeof host) {
        fprintf(stderr, "%s: not ADDRESS:PORT\n", text);
        exit(2);
    }
    memcpy(host, text, length);
    host[length] = 0;
    found.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &found.sin_addr) != 1) {
        fprintf(stderr, "%s: not an IPv4 address\n", host);
        exit(2);
    }
    return found;
}

#endif
