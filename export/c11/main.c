/* First the test vectors, byte for byte; then real audio, hop by hop, to what is heard. Ends with the line `done`. */
#include <string.h>

#include "console.h"
#include "edgeprune_stream.h"
#include "test_audio.h"
#include "test_vectors.h"

/* The vectors need the network alone, and it lies where the stream will. */
static union {
    ep_network network;
    ep_stream stream;
} memory;

static int check_vectors(void)
{
    int right = 0;
    for (int i = 0; i < TEST_VECTORS; ++i) {
        int8_t output[EP_CLASSES];
        if (ep_network_infer(&memory.network, test_inputs[i], output))
            right += memcmp(output, test_outputs[i], sizeof output) == 0;
    }
    PRINT("vectors: %d of %d right\n", right, TEST_VECTORS);
    return right == TEST_VECTORS;
}

/* Push a whole clip, up to its first window's end. */
static void hear(ep_stream *stream, const test_clip *clip)
{
    ep_stream_reset(stream);
    for (size_t done = 0; done < clip->count;) {
        const size_t left = clip->count - done;
        const size_t taken = ep_stream_push_i16(stream, clip->samples + done, left < EP_HOP ? left : EP_HOP);
        if (taken == 0)
            return;
        done += taken;
    }
    (void)ep_stream_finish(stream);
}

/* Whether the clip is heard as `edgeprune listen` hears it. */
static int check_clip(const test_clip *clip)
{
    const ep_decision expected = {.heard = clip->expected};
    ep_decision decision;
    const uint64_t start = INSTRUCTIONS();
    hear(&memory.stream, clip);
    const uint64_t heard = INSTRUCTIONS();
    const int decided = ep_stream_decide(&memory.stream, &decision);
    const uint64_t end = INSTRUCTIONS();
    if (decided <= 0) {
        PRINT("clip %s: no decision\n", clip->name);
        return 0;
    }
    const int percent = (int)((100 * decision.probability + EP_PROBABILITY_ONE / 2) / EP_PROBABILITY_ONE);
    PRINT("clip %s: %s %d%%, %d dBFS (Python: %s %d%%)", clip->name, ep_heard(&decision), percent,
          ep_level_dbfs(decision.mean_square), ep_heard(&expected), clip->percent);
    if (end > start)
        PRINT("; %u instructions while it was heard, %u to decide", (unsigned)(heard - start), (unsigned)(end - heard));
    PRINT("\n");
    return decision.heard == clip->expected;
}

int main(void)
{
    int agree = 0;
    const int right = check_vectors();
    for (int i = 0; i < TEST_CLIPS; ++i)
        agree += check_clip(&test_clips[i]);
    PRINT("clips: %d of %d as in Python\n", agree, TEST_CLIPS);
    if (!right) {
        PRINT("failed: the network computes something else\n");
        return 1;
    }
    PRINT("done\n");
    return 0;
}
