/* First the test vectors, byte for byte; then real audio, hop by hop, to a scene. Ends with the line `done`. */
#include <string.h>

#include "console.h"
#include "edgeprune_classify.h"
#include "test_audio.h"
#include "test_vectors.h"

static ep_frontend frontend;

static int check_vectors(void)
{
    int right = 0;
    for (int i = 0; i < TEST_VECTORS; ++i) {
        int8_t logits[EP_CLASSES];
        ep_network(test_inputs[i], logits);
        right += memcmp(logits, test_logits[i], sizeof logits) == 0;
    }
    PRINT("vectors: %d of %d right\n", right, TEST_VECTORS);
    return right == TEST_VECTORS;
}

/* Returns whether the scene is the one that the chain in Python hears. */
static int classify(const test_clip *clip)
{
    float probabilities[EP_CLASSES];
    const uint64_t start = INSTRUCTIONS();
    ep_frontend_reset(&frontend);
    for (size_t done = 0; done < clip->count; done += EP_HOP) {
        const size_t left = clip->count - done;
        ep_frontend_push_i16(&frontend, clip->samples + done, left < EP_HOP ? left : EP_HOP);
    }
    ep_frontend_finish(&frontend);
    const uint64_t heard = INSTRUCTIONS();
    const int found = ep_classify(&frontend, probabilities);
    const uint64_t judged = INSTRUCTIONS();
    PRINT("clip %s: ", clip->name);
    if (found < 0) {
        PRINT("too short\n");
        return 0;
    }
    PRINT("%s %d%% (Python: %s %d%%)", ep_labels[found], (int)(100.0f * probabilities[found] + 0.5f),
          ep_labels[clip->expected], clip->percent);
    if (judged > start)
        PRINT("; front-end %u, network %u instructions", (unsigned)(heard - start), (unsigned)(judged - heard));
    PRINT("\n");
    return found == clip->expected;
}

int main(void)
{
    int agree = 0;
    const int right = check_vectors();
    for (int i = 0; i < TEST_CLIPS; ++i)
        agree += classify(&test_clips[i]);
    PRINT("clips: %d of %d as in Python\n", agree, TEST_CLIPS);
    if (!right) {
        PRINT("failed: the network computes something else\n");
        return 1;
    }
    PRINT("done\n");
    return 0;
}
