/* The rules of decision: what was heard in a window, from the network's output and the level of the samples.
 *
 * They are those of `edgeprune listen`, in the same whole numbers: a probability counts in 65536ths, a level is the mean
 * square of 16-bit samples around their mean. No heap, no static variables. */
#ifndef EDGEPRUNE_LISTEN_H
#define EDGEPRUNE_LISTEN_H

#include <stddef.h>
#include <stdint.h>

#include "edgeprune_listen_config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EP_PROBABILITY_ONE 65536u
#define EP_SMOOTHING_ONE 32768u

/* What was heard: a class, counted from 0, or one of these. */
#define EP_NONE (-1)    /* none of the classes is likely enough */
#define EP_SILENCE (-2) /* the window is quieter than the gate */

/* Names of the classes, UTF-8. */
extern const char *const ep_labels[EP_CLASSES];

typedef struct ep_rules {
    uint32_t smoothing; /* weight of what was heard before, below EP_SMOOTHING_ONE */
    uint32_t threshold; /* smoothed probability below which the answer is EP_NONE */
    uint32_t gate;      /* mean square below which it is EP_SILENCE; 0: no gate */
} ep_rules;

/* Sums over the samples of a window. */
typedef struct ep_level {
    uint64_t squares;
    int64_t sum;
    uint32_t count;
} ep_level;

typedef struct ep_listen {
    ep_rules rules; /* reset sets those of the deployment; change them as you like */
    uint32_t smoothed[EP_CLASSES];
    uint32_t heard; /* windows since the last silence that are in `smoothed` */
} ep_listen;

typedef struct ep_decision {
    int heard;            /* a class, EP_NONE or EP_SILENCE */
    int best;             /* the likeliest class, also where none is likely enough; -1 in silence. Where the network's
                             probabilities are independent, others may be likely too: those that reach the threshold in
                             `smoothed` of ep_listen */
    uint32_t probability; /* of `best`, smoothed, in 65536ths */
    uint32_t mean_square; /* of the window's samples */
} ep_decision;

/* Begin, with the rules of the deployment. */
void ep_listen_reset(ep_listen *listen);

/* Decide on a window from the network's EP_CLASSES outputs and the window's level. */
void ep_listen_decide(ep_listen *listen, const int8_t *output, uint32_t mean_square, ep_decision *decision);

/* Whether a window of this level is silence, whatever the network says. */
int ep_listen_is_silent(const ep_listen *listen, uint32_t mean_square);

/* Levels start as {0}; samples and other levels are added to them. */
void ep_level_add(ep_level *level, const int16_t *samples, size_t count);
void ep_level_add_zeros(ep_level *level, uint32_t count);
void ep_level_join(ep_level *level, const ep_level *more);
uint32_t ep_level_mean_square(const ep_level *level);

/* A mean square in dBFS, rounded down: 0 is amplitude 1, -91 stands for digital silence. */
int ep_level_dbfs(uint32_t mean_square);

/* "silence", "none", or the class. */
const char *ep_heard(const ep_decision *decision);

#ifdef __cplusplus
}
#endif

#endif
