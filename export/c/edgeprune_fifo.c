#include "edgeprune_fifo.h"

/* Two cores, or a program and its interrupt, see the samples before they see that there are more. */
static uint32_t seen(const uint32_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

static void show(uint32_t *counter, uint32_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELEASE);
}

void ep_fifo_init(ep_fifo *fifo, int16_t *memory, uint32_t size)
{
    fifo->samples = memory;
    fifo->size = size;
    fifo->written = 0;
    fifo->read = 0;
    fifo->dropped = 0;
}

uint32_t ep_fifo_write(ep_fifo *fifo, const int16_t *samples, uint32_t count)
{
    const uint32_t written = fifo->written, room = fifo->size - (written - seen(&fifo->read));
    const uint32_t fits = count < room ? count : room;
    for (uint32_t i = 0; i < fits; ++i)
        fifo->samples[(written + i) & (fifo->size - 1)] = samples[i];
    show(&fifo->written, written + fits);
    ep_fifo_lost(fifo, count - fits);
    return fits;
}

void ep_fifo_lost(ep_fifo *fifo, uint32_t count)
{
    show(&fifo->dropped, fifo->dropped + count);
}

uint32_t ep_fifo_peek(const ep_fifo *fifo, const int16_t **samples)
{
    const uint32_t there = seen(&fifo->written) - fifo->read, start = fifo->read & (fifo->size - 1);
    *samples = fifo->samples + start;
    return there < fifo->size - start ? there : fifo->size - start;
}

void ep_fifo_skip(ep_fifo *fifo, uint32_t count)
{
    show(&fifo->read, fifo->read + count);
}

uint32_t ep_fifo_dropped(const ep_fifo *fifo)
{
    return seen(&fifo->dropped);
}
