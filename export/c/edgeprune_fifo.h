/* Samples between a microphone's interrupt (or task), which writes, and the program, which reads; one of each. Their
 * counters are shared by the __atomic built-ins of GCC and Clang. */
#ifndef EDGEPRUNE_FIFO_H
#define EDGEPRUNE_FIFO_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The fields are not for use from outside. */
typedef struct ep_fifo {
    int16_t *samples;
    uint32_t size;
    uint32_t written, read; /* since the beginning, modulo 2^32 */
    uint32_t dropped;
} ep_fifo;

/* Begin with memory for `size` samples, a power of two. */
void ep_fifo_init(ep_fifo *fifo, int16_t *memory, uint32_t size);

/* Add samples: how many found room. The others are dropped, and counted. */
uint32_t ep_fifo_write(ep_fifo *fifo, const int16_t *samples, uint32_t count);

/* Count samples that the hardware lost. */
void ep_fifo_lost(ep_fifo *fifo, uint32_t count);

/* The oldest samples that lie in one piece: how many there are, and where. */
uint32_t ep_fifo_peek(const ep_fifo *fifo, const int16_t **samples);

/* Forget the oldest samples, at most as many as `ep_fifo_peek` gave. */
void ep_fifo_skip(ep_fifo *fifo, uint32_t count);

/* Samples dropped since the beginning, modulo 2^32. */
uint32_t ep_fifo_dropped(const ep_fifo *fifo);

#ifdef __cplusplus
}
#endif

#endif
