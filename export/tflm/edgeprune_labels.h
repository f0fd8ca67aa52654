/* Names of the classes in the order of the output, UTF-8. */
#ifndef EDGEPRUNE_LABELS_H
#define EDGEPRUNE_LABELS_H

#include "edgeprune_infer.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const char *const edgeprune_labels[EDGEPRUNE_CLASSES];

#ifdef __cplusplus
}
#endif

#endif
