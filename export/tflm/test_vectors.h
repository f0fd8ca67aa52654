/* Inputs of real clips and what the network must give for them, and one clip as audio. For the self-test only. */
#ifndef TEST_VECTORS_H
#define TEST_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include "edgeprune_frontend_config.h"
#include "edgeprune_listen_config.h"

#define TEST_VECTORS @VECTORS@
#define TEST_SAMPLES @SAMPLES@ /* 0: there is no clip */

#ifdef __cplusplus
extern "C" {
#endif

extern const int8_t test_inputs[TEST_VECTORS][EP_INPUT_SIZE];
extern const int8_t test_outputs[TEST_VECTORS][EP_CLASSES];

#if TEST_SAMPLES > 0
extern const char *const test_clip; /* its name */
extern const int16_t test_audio[TEST_SAMPLES];
extern const int test_heard;   /* what `edgeprune listen` hears in it: the class, EP_NONE or EP_SILENCE */
extern const int test_percent; /* and how sure it is */
#endif

#ifdef __cplusplus
}
#endif

#endif
