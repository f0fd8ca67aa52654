#include "edgeprune_classify.h"

#include <math.h>

#include "bknn_net.h"

#if BKNN_NET_INPUT_SIZE != EP_INPUT_SIZE || BKNN_NET_OUTPUT_SIZE != EP_CLASSES
#error "front-end and network do not belong together"
#endif

static _Alignas(BKNN_NET_ARENA_ALIGNMENT) uint8_t arena[BKNN_NET_ARENA_SIZE];
static int8_t input[EP_INPUT_SIZE];

const char *const ep_labels[EP_CLASSES] = {
    @LABELS@,
};

void ep_network(const int8_t *values, int8_t *logits)
{
    bknn_net_infer(arena, values, logits);
}

void ep_softmax(const int8_t *logits, float *probabilities)
{
    int8_t highest = logits[0];
    float sum = 0.0f;
    for (int i = 1; i < EP_CLASSES; ++i)
        highest = logits[i] > highest ? logits[i] : highest;
    for (int i = 0; i < EP_CLASSES; ++i) {
        /* the zero point falls out of the difference */
        probabilities[i] = expf(BKNN_NET_OUTPUT_SCALE * (float)(logits[i] - highest));
        sum += probabilities[i];
    }
    for (int i = 0; i < EP_CLASSES; ++i)
        probabilities[i] /= sum;
}

int ep_classify(const ep_frontend *state, float *probabilities)
{
    int8_t logits[EP_CLASSES];
    int best = 0;
    if (!ep_frontend_patch_i8(state, input))
        return -1;
    ep_network(input, logits);
    for (int i = 1; i < EP_CLASSES; ++i)
        best = logits[i] > logits[best] ? i : best;
    if (probabilities != NULL)
        ep_softmax(logits, probabilities);
    return best;
}
