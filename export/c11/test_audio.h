/* Real clips at EP_SAMPLE_RATE, and what `edgeprune listen` hears in them. */
#ifndef TEST_AUDIO_H
#define TEST_AUDIO_H

#include <stddef.h>
#include <stdint.h>

#include "console.h"

#define TEST_CLIPS @CLIPS@

typedef struct {
    const char *name;
    const int16_t *samples;
    size_t count;
    int expected; /* the class, EP_NONE or EP_SILENCE */
    int percent;  /* its probability */
} test_clip;

extern TABLE test_clip test_clips[TEST_CLIPS];

#endif
