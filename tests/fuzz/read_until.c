/* read_until.c - records in pieces against a naive search.
 *
 * SPDX-License-Identifier: MIT
 *
 * The input begins with separators and goes on with data, which is received in
 * pieces of sizes that the input says, too. Each record that is found, by one
 * search that goes on where it stopped, must end where the first separator
 * does if one looks at every place; and the buffer must hold what was received
 * and not taken, however often it was moved.
 */
#include "await/read_buffer.h"
#include "await/separator.h"

#include <stdlib.h>

enum { FUZZ_SEPARATORS = 4, FUZZ_LIMIT = 3 * KOLK__PIECE_SIZE / 2 };

static struct {
    const uint8_t *at, *end;
    kolk_bytes separators[FUZZ_SEPARATORS];
    size_t count;

    const uint8_t *data; /* all that will be received */
    size_t size;
    size_t received, taken;
} fuzz;

static kolk_loop fuzz_loop = {.closing = true}; /* keeps no pieces */

static void
fuzz_check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static uint8_t
fuzz_byte(void)
{
    return (uint8_t)(fuzz.at < fuzz.end ? *fuzz.at++ : 0);
}

static void
fuzz_read_separators(void)
{
    fuzz.count = 1 + fuzz_byte() % FUZZ_SEPARATORS;
    for (size_t i = 0; i < fuzz.count; i++) {
        size_t size = 1 + fuzz_byte() % 8;

        if (size > (size_t)(fuzz.end - fuzz.at)) {
            fuzz.separators[i] = (kolk_bytes){.data = "\n", .size = 1};
        } else {
            fuzz.separators[i] = (kolk_bytes){.data = fuzz.at, .size = size};
            fuzz.at += size;
        }
    }
}

/* The model: where the first separator ends in what has come of the record;
 * 0: nowhere. */
static size_t
fuzz_model_end(void)
{
    const uint8_t *record = fuzz.data + fuzz.taken;
    size_t size = fuzz.received - fuzz.taken;

    for (size_t end = 1; end <= size; end++) {
        for (size_t i = 0; i < fuzz.count; i++) {
            const kolk_bytes *separator = &fuzz.separators[i];

            if (separator->size <= end
                && memcmp(record + end - separator->size, separator->data,
                          separator->size)
                       == 0) {
                return end;
            }
        }
    }
    return 0;
}

static void
fuzz_receive(kolk__read_buffer *buffer, uint8_t wish)
{
    size_t size = (size_t)1 << wish % 13;

    fuzz_check(kolk__read_buffer_reserve(&fuzz_loop, buffer, FUZZ_LIMIT) == 0);
    size_t room = buffer->capacity - buffer->end;
    fuzz_check(room > 0);
    size = size < room ? size : room;
    if (size > fuzz.size - fuzz.received) {
        size = fuzz.size - fuzz.received;
    }
    memcpy(buffer->data + buffer->end, fuzz.data + fuzz.received, size);
    kolk__read_buffer_received(buffer, size);
    fuzz.received += size;
}

/* Takes every record that is complete. Returns how much of the last one has
 * been searched. */
static size_t
fuzz_take_records(kolk__read_buffer *buffer, size_t searched)
{
    for (;;) {
        size_t size = kolk__read_buffer_size(buffer);
        size_t end =
            kolk__separator_find(kolk__read_buffer_data(buffer), size, searched,
                                 fuzz.separators, fuzz.count);

        fuzz_check(size == fuzz.received - fuzz.taken);
        fuzz_check(end == fuzz_model_end());
        if (end == 0) {
            return size;
        }
        fuzz_check(memcmp(kolk__read_buffer_take(buffer, end),
                          fuzz.data + fuzz.taken, end)
                   == 0);
        fuzz.taken += end;
        searched = 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kolk__read_buffer buffer = {.data = NULL};
    size_t searched = 0;

    fuzz.at = data;
    fuzz.end = data + size;
    fuzz_read_separators();
    uint8_t wishes[8];
    for (size_t i = 0; i < sizeof wishes; i++) {
        wishes[i] = fuzz_byte();
    }
    fuzz.data = fuzz.at;
    fuzz.size = (size_t)(fuzz.end - fuzz.at);
    fuzz.received = fuzz.taken = 0;
    for (size_t i = 0;
         fuzz.received < fuzz.size && fuzz.received - fuzz.taken < FUZZ_LIMIT;
         i++) {
        uint8_t wish = wishes[i % sizeof wishes];

        if ((wish & 0x80) != 0) {
            kolk__read_buffer_rest(&fuzz_loop, &buffer);
        }
        fuzz_receive(&buffer, wish);
        searched = fuzz_take_records(&buffer, searched);
    }
    kolk__read_buffer_fini(&fuzz_loop, &buffer);
    return 0;
}
