/* The network under TensorFlow Lite Micro: quantised values in, quantised values out. No heap; not reentrant. */
#ifndef EDGEPRUNE_INFER_H
#define EDGEPRUNE_INFER_H

#include <stddef.h>
#include <stdint.h>

#define EDGEPRUNE_INPUT_SIZE @INPUT_SIZE@
#define EDGEPRUNE_CLASSES @CLASSES@

/* A stored q stands for SCALE * (q - ZERO_POINT). */
#define EDGEPRUNE_INPUT_SCALE @INPUT_SCALE@
#define EDGEPRUNE_INPUT_ZERO_POINT (@INPUT_ZERO_POINT@)
#define EDGEPRUNE_OUTPUT_SCALE @OUTPUT_SCALE@
#define EDGEPRUNE_OUTPUT_ZERO_POINT (@OUTPUT_ZERO_POINT@)

/* Working memory: @MEASURED@ bytes, the least that was found to do with reference kernels on 64 bits, and @HEADROOM@ for
 * the scratch memory of @KERNELS@. `edgeprune_arena_used` tells what your build takes of it. */
#ifndef EDGEPRUNE_ARENA_BYTES
#define EDGEPRUNE_ARENA_BYTES @ARENA@
#endif

#define EDGEPRUNE_OK 0
#define EDGEPRUNE_NO_MEMORY (-1)     /* the arena is too small, or an operator is missing */
#define EDGEPRUNE_OTHER_NETWORK (-2) /* the model is not the one this header was written for */
#define EDGEPRUNE_FAILED (-3)        /* the interpreter failed */

#ifdef __cplusplus
extern "C" {
#endif

/* Call it first, again does no harm; EDGEPRUNE_OK or one of the codes above. */
int edgeprune_init(void);

/* EDGEPRUNE_INPUT_SIZE values to EDGEPRUNE_CLASSES; EDGEPRUNE_OK or one of the codes above. */
int edgeprune_infer(const int8_t *input, int8_t *output);

/* Bytes of the arena in use; 0 before edgeprune_init. */
size_t edgeprune_arena_used(void);

#ifdef __cplusplus
}
#endif

#endif
