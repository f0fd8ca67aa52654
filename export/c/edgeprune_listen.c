#include "edgeprune_listen.h"

void ep_listen_reset(ep_listen *listen)
{
    const ep_listen begin = {.rules = {.smoothing = EP_SMOOTHING, .threshold = EP_THRESHOLD, .gate = EP_GATE}};
    *listen = begin;
}

/* In 65536ths, of an output as the network stores it. */
static uint32_t probability(int8_t stored)
{
    const int32_t steps = stored - (EP_OUTPUT_ZERO_POINT);
    if (steps <= 0)
        return 0;
    const uint32_t value = (uint32_t)steps * EP_OUTPUT_UNIT;
    return value < EP_PROBABILITY_ONE ? value : EP_PROBABILITY_ONE;
}

int ep_listen_is_silent(const ep_listen *listen, uint32_t mean_square)
{
    return mean_square < listen->rules.gate;
}

void ep_listen_decide(ep_listen *listen, const int8_t *output, uint32_t mean_square, ep_decision *decision)
{
    decision->mean_square = mean_square;
    if (ep_listen_is_silent(listen, mean_square)) {
        listen->heard = 0; /* what comes next is judged by itself */
        decision->heard = EP_SILENCE;
        decision->best = -1;
        decision->probability = 0;
        return;
    }
    const uint32_t weight = listen->heard > 0 ? listen->rules.smoothing : 0;
    int best = 0;
    for (int i = 0; i < EP_CLASSES; ++i) {
        const uint32_t latest = (EP_SMOOTHING_ONE - weight) * probability(output[i]);
        listen->smoothed[i] = (weight * listen->smoothed[i] + latest + EP_SMOOTHING_ONE / 2) / EP_SMOOTHING_ONE;
        if (listen->smoothed[i] > listen->smoothed[best])
            best = i;
    }
    listen->heard = 1;
    decision->best = best;
    decision->probability = listen->smoothed[best];
    decision->heard = decision->probability >= listen->rules.threshold ? best : EP_NONE;
}

void ep_level_add(ep_level *level, const int16_t *samples, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        const int32_t sample = samples[i];
        level->sum += sample;
        level->squares += (uint32_t)(sample * sample);
    }
    level->count += (uint32_t)count;
}

void ep_level_add_zeros(ep_level *level, uint32_t count)
{
    level->count += count;
}

void ep_level_join(ep_level *level, const ep_level *more)
{
    level->squares += more->squares;
    level->sum += more->sum;
    level->count += more->count;
}

uint32_t ep_level_mean_square(const ep_level *level)
{
    if (level->count == 0)
        return 0;
    /* Around the mean rounded to a whole number; half of full scale is added to keep the division of what is not
     * negative, where it rounds down. */
    const int64_t count = level->count;
    const int64_t mean = (2 * (level->sum + 32768 * count) + count) / (2 * count) - 32768;
    const int64_t around = (int64_t)level->squares - 2 * mean * level->sum + count * mean * mean;
    return (uint32_t)((uint64_t)around / level->count);
}

int ep_level_dbfs(uint32_t mean_square)
{
    /* 16 more bits keep the small levels apart; 10^(-0.1) is 52057 / 65536 */
    uint64_t step = (uint64_t)1 << 46;
    int level = 0;
    while (level > -91 && ((uint64_t)mean_square << 16) < step) {
        step = step * 52057u >> 16;
        --level;
    }
    return level;
}

const char *ep_heard(const ep_decision *decision)
{
    if (decision->heard == EP_SILENCE)
        return "silence";
    return decision->heard == EP_NONE ? "none" : ep_labels[decision->heard];
}
