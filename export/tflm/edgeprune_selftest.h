/* First the test vectors, byte for byte; then a real clip, from its samples to what is heard. */
#ifndef EDGEPRUNE_SELFTEST_H
#define EDGEPRUNE_SELFTEST_H

#ifdef __cplusplus
extern "C" {
#endif

/* Prints by `print`, a line a call without its end. 0 if the network gave the right bytes. */
int edgeprune_selftest(void (*print)(const char *line));

#ifdef __cplusplus
}
#endif

#endif
