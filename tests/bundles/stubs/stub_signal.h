/* STUB for tests: the sound that the stubs of microphones hear, int16 samples of the file that $SIGNAL names. */
#ifndef STUB_SIGNAL_H
#define STUB_SIGNAL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Up to `count` samples: how many are left of them. Slower than the program under test takes them. */
size_t stub_hear(int16_t *samples, size_t count);

/* All is heard: let the program finish what it has, then end it with code 0. */
void stub_end(void);

#ifdef __cplusplus
}
#endif

#endif
