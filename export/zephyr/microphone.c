/* Prints what a PDM microphone hears. The microphone is the node `dmic_dev` of the device tree, which the Thingy:53 has;
 * `boards/` connects one to the nRF52840 DK. A thread of higher priority empties the driver's blocks into a queue, so that
 * nothing is lost while the network decides. */
#include <zephyr/audio/dmic.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "edgeprune_stream.h"

#define BLOCK_SAMPLES (EP_SAMPLE_RATE / 50)
#define BLOCK_BYTES (BLOCK_SAMPLES * sizeof(int16_t))
#define BLOCKS 8
#define QUEUE_SAMPLES 8192 /* a power of two */
#define TIMEOUT_MS 500
#define READER_PRIORITY (-1) /* above main */
#define READER_STACK 1024

K_MEM_SLAB_DEFINE_STATIC(blocks, BLOCK_BYTES, BLOCKS, 4);
K_SEM_DEFINE(more_samples, 0, 1);
K_THREAD_STACK_DEFINE(reader_stack, READER_STACK);

static const struct device *const microphone = DEVICE_DT_GET(DT_NODELABEL(dmic_dev));
static struct k_thread reader;
static int16_t queue[QUEUE_SAMPLES];
static ep_fifo fifo;
static ep_stream stream;

static int start_microphone(void)
{
    static struct pcm_stream_cfg pcm = {
        .pcm_rate = EP_SAMPLE_RATE, .pcm_width = 16, .block_size = BLOCK_BYTES, .mem_slab = &blocks};
    struct dmic_cfg config = {
        .io = {.min_pdm_clk_freq = 1000000, .max_pdm_clk_freq = 3500000, .min_pdm_clk_dc = 40, .max_pdm_clk_dc = 60},
        .streams = &pcm,
        .channel = {.req_chan_map_lo = dmic_build_channel_map(0, 0, PDM_CHAN_LEFT), .req_num_chan = 1, .req_num_streams = 1}};
    if (!device_is_ready(microphone) || dmic_configure(microphone, &config) < 0)
        return -1;
    return dmic_trigger(microphone, DMIC_TRIGGER_START);
}

static void read_microphone(void *unused1, void *unused2, void *unused3)
{
    ARG_UNUSED(unused1);
    ARG_UNUSED(unused2);
    ARG_UNUSED(unused3);
    for (;;) {
        void *block;
        size_t bytes;
        if (dmic_read(microphone, 0, &block, &bytes, TIMEOUT_MS) == 0) {
            ep_fifo_write(&fifo, block, bytes / sizeof(int16_t));
            k_mem_slab_free(&blocks, block);
        } else { /* drivers stop when they have no block left */
            ep_fifo_lost(&fifo, EP_SAMPLE_RATE * TIMEOUT_MS / 1000);
            (void)dmic_trigger(microphone, DMIC_TRIGGER_START);
        }
        k_sem_give(&more_samples);
    }
}

int main(void)
{
    ep_decision decision;
    ep_fifo_init(&fifo, queue, QUEUE_SAMPLES);
    ep_stream_reset(&stream);
    if (start_microphone() < 0) {
        printk("the microphone does not start at %d Hz\n", EP_SAMPLE_RATE);
        return 0;
    }
    k_thread_create(&reader, reader_stack, K_THREAD_STACK_SIZEOF(reader_stack), read_microphone, NULL, NULL, NULL,
                    READER_PRIORITY, 0, K_NO_WAIT);
    for (;;) {
        const int decided = ep_stream_listen(&stream, &fifo, &decision);
        if (decided > 0)
            printk("%s %u%%, %d dBFS, %u samples lost\n", ep_heard(&decision),
                   (unsigned)(100 * decision.probability / EP_PROBABILITY_ONE), ep_level_dbfs(decision.mean_square),
                   (unsigned)stream.dropped);
        else if (decided < 0)
            printk("the network failed\n");
        else
            k_sem_take(&more_samples, K_FOREVER);
    }
}
