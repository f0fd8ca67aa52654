/* The network by the names that edgeprune_stream.c calls it; its working memory is that of edgeprune_infer.cc. */
#ifndef EDGEPRUNE_NETWORK_H
#define EDGEPRUNE_NETWORK_H

#include "edgeprune_infer.h"

#define EP_NETWORK_INPUTS EDGEPRUNE_INPUT_SIZE
#define EP_NETWORK_OUTPUTS EDGEPRUNE_CLASSES

typedef struct ep_network {
    char nothing;
} ep_network;

static inline int ep_network_infer(ep_network *network, const int8_t *input, int8_t *output)
{
    (void)network;
    return edgeprune_init() == EDGEPRUNE_OK && edgeprune_infer(input, output) == EDGEPRUNE_OK;
}

#endif
