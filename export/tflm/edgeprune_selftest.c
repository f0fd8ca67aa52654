#include "edgeprune_selftest.h"

#include <stdio.h>
#include <string.h>

#include "edgeprune_stream.h"
#include "test_vectors.h"

/* The vectors need the network alone, and it lies where the stream will. */
static union {
    ep_network network;
    ep_stream stream;
} memory;

static char line[192];

static int check_vectors(void)
{
    int right = 0;
    for (int i = 0; i < TEST_VECTORS; ++i) {
        int8_t output[EP_CLASSES];
        if (ep_network_infer(&memory.network, test_inputs[i], output))
            right += memcmp(output, test_outputs[i], sizeof output) == 0;
    }
    return right;
}

#if TEST_SAMPLES > 0
static void hear_clip(void (*print)(const char *line))
{
    const ep_decision expected = {.heard = test_heard};
    ep_decision decision;
    ep_stream_reset(&memory.stream);
    const size_t taken = ep_stream_push_i16(&memory.stream, test_audio, TEST_SAMPLES);
    if (taken == TEST_SAMPLES)
        (void)ep_stream_finish(&memory.stream);
    if (ep_stream_decide(&memory.stream, &decision) <= 0) {
        print("clip: failed");
        return;
    }
    const unsigned percent = (unsigned)((100 * decision.probability + EP_PROBABILITY_ONE / 2) / EP_PROBABILITY_ONE);
    snprintf(line, sizeof line, "clip %.40s: %.40s %u%%, %d dBFS (Python: %.40s %d%%)", test_clip, ep_heard(&decision),
             percent, ep_level_dbfs(decision.mean_square), ep_heard(&expected), test_percent);
    print(line);
}
#endif

int edgeprune_selftest(void (*print)(const char *line))
{
#ifdef EDGEPRUNE_ARENA_BYTES
    const int code = edgeprune_init();
    if (code != EDGEPRUNE_OK) {
        snprintf(line, sizeof line, "failed: edgeprune_init gave %d; see edgeprune_infer.h", code);
        print(line);
        return 1;
    }
    snprintf(line, sizeof line, "arena: %lu of %lu bytes in use", (unsigned long)edgeprune_arena_used(),
             (unsigned long)EDGEPRUNE_ARENA_BYTES);
    print(line);
#endif
    const int right = check_vectors();
    snprintf(line, sizeof line, "vectors: %d of %d right", right, TEST_VECTORS);
    print(line);
#if TEST_SAMPLES > 0
    hear_clip(print);
#endif
    print(right == TEST_VECTORS ? "done" : "failed: the network computes something else");
    return right != TEST_VECTORS;
}
