#include "edgeprune_selftest.h"

#include <stdio.h>
#include <string.h>

#include "edgeprune_frontend.h"
#include "edgeprune_infer.h"
#include "edgeprune_labels.h"
#include "test_vectors.h"

#if EP_INPUT_SIZE != EDGEPRUNE_INPUT_SIZE
#error "front-end and network do not belong together"
#endif

static char line[192];

static int check_vectors(void) {
    int right = 0;
    for (int i = 0; i < TEST_VECTORS; ++i) {
        int8_t output[EDGEPRUNE_CLASSES];
        if (edgeprune_infer(test_inputs[i], output) == EDGEPRUNE_OK)
            right += memcmp(output, test_outputs[i], sizeof output) == 0;
    }
    return right;
}

#if TEST_SAMPLES > 0
static ep_frontend frontend;
static int8_t input[EDGEPRUNE_INPUT_SIZE];

static int best_of(const int8_t *output) {
    int best = 0;
    for (int i = 1; i < EDGEPRUNE_CLASSES; ++i)
        best = output[i] > output[best] ? i : best;
    return best;
}

static void classify(void (*print)(const char *line)) {
    int8_t output[EDGEPRUNE_CLASSES];
    ep_frontend_reset(&frontend);
    for (size_t done = 0; done < TEST_SAMPLES; done += EP_HOP) {
        const size_t left = TEST_SAMPLES - done;
        ep_frontend_push_i16(&frontend, test_audio + done, left < EP_HOP ? left : EP_HOP);
    }
    ep_frontend_finish(&frontend);
    if (!ep_frontend_patch_i8(&frontend, input) || edgeprune_infer(input, output) != EDGEPRUNE_OK) {
        print("clip: failed");
        return;
    }
    const int found = best_of(output);
    const float value = EDGEPRUNE_OUTPUT_SCALE * (float)(output[found] - EDGEPRUNE_OUTPUT_ZERO_POINT);
    snprintf(line, sizeof line, "clip %.40s: %.40s %d%% (Python: %.40s %d%%)", test_clip, edgeprune_labels[found],
             (int)(100.0f * value + 0.5f), edgeprune_labels[test_class], test_percent);
    print(line);
}
#endif

int edgeprune_selftest(void (*print)(const char *line)) {
    const int code = edgeprune_init();
    if (code != EDGEPRUNE_OK) {
        snprintf(line, sizeof line, "failed: edgeprune_init gave %d; see edgeprune_infer.h", code);
        print(line);
        return 1;
    }
    snprintf(line, sizeof line, "arena: %lu of %lu bytes in use", (unsigned long)edgeprune_arena_used(),
             (unsigned long)EDGEPRUNE_ARENA_BYTES);
    print(line);
    const int right = check_vectors();
    snprintf(line, sizeof line, "vectors: %d of %d right", right, TEST_VECTORS);
    print(line);
#if TEST_SAMPLES > 0
    classify(print);
#endif
    print(right == TEST_VECTORS ? "done" : "failed: the network computes something else");
    return right != TEST_VECTORS;
}
