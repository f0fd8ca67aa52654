/* The network by the names that edgeprune_stream.c calls it: it takes rows as they come, or a whole input. */
#ifndef EDGEPRUNE_NETWORK_H
#define EDGEPRUNE_NETWORK_H

#include "@net@.h"

#define EP_NETWORK_INPUTS @NET@_INPUT_SIZE
#define EP_NETWORK_OUTPUTS @NET@_OUTPUT_SIZE

typedef @net@_state ep_network;

static inline void ep_network_reset(ep_network *network)
{
    @net@_reset(network);
}

static inline void ep_network_push(ep_network *network, const int8_t *row)
{
    @net@_push(network, row);
}

static inline void ep_network_output(const ep_network *network, int8_t *output)
{
    @net@_output(network, output);
}

static inline int ep_network_infer(ep_network *network, const int8_t *input, int8_t *output)
{
    @net@_infer(network, input, output);
    return 1;
}

#endif
