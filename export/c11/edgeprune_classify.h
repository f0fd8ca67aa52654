/* From audio to a scene: the log-mel front-end, the network, softmax. No heap. */
#ifndef EDGEPRUNE_CLASSIFY_H
#define EDGEPRUNE_CLASSIFY_H

#include "edgeprune_frontend.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EP_CLASSES @CLASSES@

/* Names of the classes, UTF-8. */
extern const char *const ep_labels[EP_CLASSES];

/* The network alone: EP_INPUT_SIZE quantised values to EP_CLASSES quantised logits. Not reentrant. */
void ep_network(const int8_t *input, int8_t *logits);

/* Probabilities of quantised logits. */
void ep_softmax(const int8_t *logits, float *probabilities);

/* The most likely class of the latest EP_FRAMES frames; -1 while there are fewer.
 *
 * `probabilities` takes EP_CLASSES values, or is NULL. */
int ep_classify(const ep_frontend *state, float *probabilities);

#ifdef __cplusplus
}
#endif

#endif
