/* Inputs of real clips, and what the network must give for them. */
#ifndef TEST_VECTORS_H
#define TEST_VECTORS_H

#include "console.h"
#include "edgeprune_stream.h"

#define TEST_VECTORS @VECTORS@

extern TABLE int8_t test_inputs[TEST_VECTORS][EP_INPUT_SIZE];
extern TABLE int8_t test_outputs[TEST_VECTORS][EP_CLASSES];

#endif
