/* Prints what an I2S microphone of 24 bits hears, such as an INMP441, ICS-43434 or SPH0645. A task of higher priority
 * empties the driver's buffers into a queue, so that nothing is lost while the network decides. */
#include <stdio.h>

#include "driver/i2s_std.h"
#include "esp_attr.h"
#include "esp_err.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "edgeprune_stream.h"

/* The pins of the microphone; its select pin is at ground, so that it speaks in the left slot. */
#define PIN_CLOCK GPIO_NUM_4
#define PIN_WORD GPIO_NUM_5
#define PIN_DATA GPIO_NUM_6

#define GAIN_BITS 2 /* each is 6 dB; 0: full scale of the microphone is full scale of 16 bits */
#define BLOCK_SAMPLES 240
#define QUEUE_SAMPLES 8192 /* a power of two */
#define TIMEOUT_MS 500
#define READER_PRIORITY 10 /* above app_main */
#define READER_STACK 4096

static i2s_chan_handle_t microphone;
static TaskHandle_t listener;
static volatile uint32_t overwritten_bytes;
static int16_t queue[QUEUE_SAMPLES];
static ep_fifo fifo;
static ep_stream stream;

static bool IRAM_ATTR overwritten(i2s_chan_handle_t channel, i2s_event_data_t *event, void *unused)
{
    (void)channel;
    (void)unused;
    overwritten_bytes += event->size;
    return false;
}

static void start_microphone(void)
{
    const i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
    i2s_std_config_t config = {
        .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(EP_SAMPLE_RATE),
        .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
        .gpio_cfg = {.mclk = I2S_GPIO_UNUSED, .bclk = PIN_CLOCK, .ws = PIN_WORD, .dout = I2S_GPIO_UNUSED, .din = PIN_DATA},
    };
    const i2s_event_callbacks_t callbacks = {.on_recv_q_ovf = overwritten};
    config.slot_cfg.slot_mask = I2S_STD_SLOT_LEFT;
    ESP_ERROR_CHECK(i2s_new_channel(&channel, NULL, &microphone));
    ESP_ERROR_CHECK(i2s_channel_init_std_mode(microphone, &config));
    ESP_ERROR_CHECK(i2s_channel_register_event_callback(microphone, &callbacks, NULL));
    ESP_ERROR_CHECK(i2s_channel_enable(microphone));
}

/* 16 bits out of the upper ones of 32. */
static int16_t sample_of(int32_t slot)
{
    const int32_t value = slot / (1 << (16 - GAIN_BITS));
    return (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
}

static void read_microphone(void *unused)
{
    static int32_t slots[BLOCK_SAMPLES];
    static int16_t samples[BLOCK_SAMPLES];
    uint32_t counted = 0;
    (void)unused;
    for (;;) {
        size_t bytes = 0;
        (void)i2s_channel_read(microphone, slots, sizeof slots, &bytes, TIMEOUT_MS);
        const uint32_t count = (uint32_t)(bytes / sizeof slots[0]);
        for (uint32_t i = 0; i < count; ++i)
            samples[i] = sample_of(slots[i]);
        ep_fifo_write(&fifo, samples, count);
        const uint32_t lost = overwritten_bytes - counted;
        counted += lost;
        ep_fifo_lost(&fifo, (uint32_t)(lost / sizeof slots[0]));
        xTaskNotifyGive(listener);
    }
}

void app_main(void)
{
    ep_decision decision;
    listener = xTaskGetCurrentTaskHandle();
    ep_fifo_init(&fifo, queue, QUEUE_SAMPLES);
    ep_stream_reset(&stream);
    start_microphone();
    xTaskCreate(read_microphone, "microphone", READER_STACK, NULL, READER_PRIORITY, NULL);
    for (;;) {
        const int decided = ep_stream_listen(&stream, &fifo, &decision);
        if (decided > 0)
            printf("%s %u%%, %d dBFS, %u samples lost\n", ep_heard(&decision),
                   (unsigned)(100 * decision.probability / EP_PROBABILITY_ONE), ep_level_dbfs(decision.mean_square),
                   (unsigned)stream.dropped);
        else if (decided < 0)
            printf("the network failed\n");
        else
            ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
    }
}
