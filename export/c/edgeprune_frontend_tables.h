/* Between the files of the front-end: its tables, generated, and its FFT. */
#ifndef EDGEPRUNE_FRONTEND_TABLES_H
#define EDGEPRUNE_FRONTEND_TABLES_H

#include "edgeprune_frontend.h"

/* A periodic window's first half and its middle; value i of the other half equals value EP_WINDOW - i. */
extern const float ep_window[EP_WINDOW / 2 + 1];

/* Mel bands: first bin, number of bins, and the weights of all bands one after the other. */
extern const uint16_t ep_band_first[EP_MELS];
extern const uint16_t ep_band_bins[EP_MELS];
extern const float ep_weights[EP_WEIGHTS];

/* Of each mel band over the training clips. */
extern const float ep_mean[EP_MELS];
extern const float ep_std[EP_MELS];

#ifndef EP_USE_CMSIS_DSP
#if EP_FFT_MIXED
/* cos and sin of 2 pi j / EP_FFT for half a turn, and the prime factors of EP_FFT / 2. */
extern const float ep_turns[EP_FFT];
extern const uint8_t ep_factors[EP_FACTORS];
#else
/* sin(2 pi j / EP_FFT) for a quarter of a turn. */
extern const float ep_sine[EP_FFT / 4 + 1];
#endif
#endif

/* FFT of the EP_FFT samples in `work`, which then holds the strength (magnitude or power) of bin k at place 2 k. */
void ep_spectrum(ep_frontend *state);

#endif
