/* STUB for tests: the example's calls on this computer. Threads are real, the microphone plays a file; once it stops for lack
 * of blocks, as drivers do, and must be started again. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zephyr/audio/dmic.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "stub_signal.h"

const struct device stub_node_dmic_dev = {"stub"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct pcm_stream_cfg pcm;
static int running, reads;

bool device_is_ready(const struct device *device)
{
    return device == &stub_node_dmic_dev;
}

int dmic_configure(const struct device *device, struct dmic_cfg *config)
{
    (void)device;
    pcm = config->streams[0];
    const int one_left = config->channel.req_num_chan == 1 && config->channel.req_num_streams == 1;
    return one_left && pcm.pcm_width == 16 && pcm.block_size <= pcm.mem_slab->block_size ? 0 : -1;
}

int dmic_trigger(const struct device *device, enum dmic_trigger command)
{
    (void)device;
    running = command == DMIC_TRIGGER_START;
    return 0;
}

int dmic_read(const struct device *device, uint8_t stream, void **buffer, size_t *size, int32_t timeout)
{
    (void)device;
    (void)stream;
    (void)timeout;
    if (++reads == 3)
        running = 0;
    if (!running)
        return -1;
    if (pcm.mem_slab->used == pcm.mem_slab->blocks)
        abort(); /* the example does not give its blocks back */
    *buffer = pcm.mem_slab->memory + pcm.mem_slab->used++ * pcm.mem_slab->block_size;
    *size = 2 * stub_hear(*buffer, pcm.block_size / 2);
    if (*size == 0)
        stub_end();
    return 0;
}

uint32_t dmic_build_channel_map(uint8_t channel, uint8_t pdm, enum pdm_lr side)
{
    return (uint32_t)((pdm << 1 | side) << 4 * channel);
}

void k_mem_slab_free(struct k_mem_slab *slab, void *memory)
{
    if (memory != slab->memory + --slab->used * slab->block_size)
        abort();
}

void k_sem_give(struct k_sem *semaphore)
{
    pthread_mutex_lock(&lock);
    semaphore->count = semaphore->count < semaphore->limit ? semaphore->count + 1 : semaphore->limit;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

int k_sem_take(struct k_sem *semaphore, k_timeout_t timeout)
{
    (void)timeout;
    pthread_mutex_lock(&lock);
    while (semaphore->count == 0)
        pthread_cond_wait(&changed, &lock);
    --semaphore->count;
    pthread_mutex_unlock(&lock);
    return 0;
}

static k_thread_entry_t entered;

static void *enter(void *nothing)
{
    entered(nothing, nothing, nothing);
    return NULL;
}

k_tid_t k_thread_create(struct k_thread *thread, k_thread_stack_t *stack, size_t size, k_thread_entry_t entry, void *p1,
                        void *p2, void *p3, int priority, uint32_t options, k_timeout_t delay)
{
    pthread_t started;
    (void)stack, (void)size, (void)p1, (void)p2, (void)p3, (void)options, (void)delay;
    if (priority >= 0)
        abort(); /* not above main */
    entered = entry;
    pthread_create(&started, NULL, enter, NULL);
    return thread;
}

void printk(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
}
