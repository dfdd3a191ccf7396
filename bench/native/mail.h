/* What the senders and the receiver of the mail benchmark agree on: what a message looks like.
 *
 * It begins with "X-Bench: TAG SIZE", above which whoever stands between may put fields of his own. The SIZE bytes that
 * follow are the same header each time and lines of text out of a block, from a line on that depends on the tag; each
 * of them is compared. Everything is as on the wire: a line with a dot in front has two. */

#ifndef BENCH_MAIL_H
#define BENCH_MAIL_H

#include "common.h"

#define LINE_BYTES 78 /* a line of base64 as mail programs make it */
#define LINES 977     /* a prime */
#define BLOCK_BYTES ((uint64_t)LINE_BYTES * LINES)
#define MARK "X-Bench: "

static const char mail_header[] =
    "From: Sender of the Benchmark <sender@bench.example>\r\n"
    "To: Receiver of the Benchmark <receiver@example.org>\r\n"
    "Subject: what it costs to carry this\r\n"
    "Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    "Message-ID: <7f3a9c.0123456789@client.bench.example>\r\n"
    "User-Agent: smtpload\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=us-ascii;\r\n\tformat=flowed\r\n"
    "Content-Transfer-Encoding: 7bit\r\n"
    "\r\n"
    "..a line with a dot in front, which must come out as it went in\r\n";
#define HEADER_BYTES (sizeof mail_header - 1)

static unsigned char mail_block[LINE_BYTES * LINES];

static inline void mail_fill(void)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    pattern_fill();
    for (size_t i = 0; i < sizeof mail_block; i++)
        mail_block[i] = (unsigned char)letters[pattern_block[i % PATTERN_BYTES] & 63];
    for (size_t line = 0; line < LINES; line++)
        memcpy(mail_block + line * LINE_BYTES + LINE_BYTES - 2, "\r\n", 2);
}

/* How many bytes follow the mark, if the message is to have about so many. */
static inline uint64_t mail_size(uint64_t wanted)
{
    uint64_t body = wanted > HEADER_BYTES ? wanted - HEADER_BYTES : 1;
    return HEADER_BYTES + (body + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

/* The bytes at a position behind the mark; size is lowered to what lies together. */
static inline const unsigned char *mail_at(uint32_t tag, uint64_t position, size_t *size)
{
    const unsigned char *bytes = (const unsigned char *)mail_header + position;
    uint64_t together = HEADER_BYTES - position;
    if (position >= HEADER_BYTES) {
        uint64_t at = (position - HEADER_BYTES + (uint64_t)tag * 7919 % LINES * LINE_BYTES) % BLOCK_BYTES;
        bytes = mail_block + at;
        together = BLOCK_BYTES - at;
    }
    if (*size > together)
        *size = (size_t)together;
    return bytes;
}

#endif
