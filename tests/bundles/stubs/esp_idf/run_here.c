/* STUB for tests: the example's calls on this computer. Tasks are threads; the microphone plays a file in the upper bits of
 * 32, less the example's gain, and once tells of 60 samples that it overwrote. */
#include <pthread.h>

#include "driver/i2s_std.h"
#include "freertos/task.h"
#include "stub_signal.h"

void app_main(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned notified;
static i2s_event_callbacks_t callbacks;
static TaskFunction_t entered;
static int enabled, reads;

TaskHandle_t xTaskGetCurrentTaskHandle(void)
{
    return &notified;
}

static void *enter(void *argument)
{
    entered(argument);
    return NULL;
}

BaseType_t xTaskCreate(TaskFunction_t task, const char *name, uint32_t stack, void *argument, UBaseType_t priority,
                       TaskHandle_t *created)
{
    pthread_t started;
    (void)name, (void)stack, (void)created;
    if (priority <= 1)
        abort(); /* not above app_main */
    entered = task;
    return pthread_create(&started, NULL, enter, argument) == 0;
}

BaseType_t xTaskNotifyGive(TaskHandle_t task)
{
    pthread_mutex_lock(&lock);
    ++*(unsigned *)task;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return pdTRUE;
}

uint32_t ulTaskNotifyTake(BaseType_t clear, TickType_t wait)
{
    (void)wait;
    pthread_mutex_lock(&lock);
    while (notified == 0)
        pthread_cond_wait(&changed, &lock);
    const uint32_t before = notified;
    notified = clear ? 0 : notified - 1;
    pthread_mutex_unlock(&lock);
    return before;
}

esp_err_t i2s_new_channel(const i2s_chan_config_t *config, i2s_chan_handle_t *tx, i2s_chan_handle_t *rx)
{
    (void)rx;
    return config->role == I2S_ROLE_MASTER && tx == NULL ? ESP_OK : -1;
}

esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t handle, const i2s_std_config_t *config)
{
    (void)handle;
    const int slots = config->slot_cfg.data_bit_width == I2S_DATA_BIT_WIDTH_32BIT;
    return slots && config->slot_cfg.slot_mask == I2S_STD_SLOT_LEFT && config->clk_cfg.sample_rate_hz ? ESP_OK : -1;
}

esp_err_t i2s_channel_register_event_callback(i2s_chan_handle_t handle, const i2s_event_callbacks_t *asked, void *user)
{
    (void)handle, (void)user;
    callbacks = *asked;
    return enabled ? -1 : ESP_OK; /* only before it is enabled */
}

esp_err_t i2s_channel_enable(i2s_chan_handle_t handle)
{
    (void)handle;
    enabled = 1;
    return ESP_OK;
}

esp_err_t i2s_channel_read(i2s_chan_handle_t handle, void *to, size_t size, size_t *read, uint32_t timeout_ms)
{
    int16_t samples[1024];
    int32_t *slots = to;
    (void)timeout_ms;
    if (++reads == 2) {
        i2s_event_data_t event = {NULL, 60 * sizeof *slots};
        callbacks.on_recv_q_ovf(handle, &event, NULL);
    }
    const size_t count = stub_hear(samples, size / sizeof *slots);
    for (size_t i = 0; i < count; ++i)
        slots[i] = samples[i] * 16384; /* 16 bits up, 12 dB down */
    *read = count * sizeof *slots;
    if (count == 0)
        stub_end();
    return enabled ? ESP_OK : -1;
}

int main(void)
{
    app_main();
    return 1;
}
