/* The .tflite file, byte for byte. */
#ifndef EDGEPRUNE_MODEL_H
#define EDGEPRUNE_MODEL_H

#ifdef __cplusplus
extern "C" {
#endif

extern const unsigned char edgeprune_model[@BYTES@];

#ifdef __cplusplus
}
#endif

#endif
