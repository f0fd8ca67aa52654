/* STUB for tests: NOT Zephyr. It declares what the microphone's example uses, as Zephyr 3.5 and later do. */
#ifndef STUB_ZEPHYR_KERNEL_H
#define STUB_ZEPHYR_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

struct device {
    const char *name;
};
struct k_mem_slab {
    char *memory;
    size_t block_size, blocks;
    uint32_t used;
};
struct k_sem {
    unsigned count, limit;
};
struct k_thread {
    void *nothing;
};
typedef struct {
    int64_t ticks;
} k_timeout_t;
typedef char k_thread_stack_t;
typedef void (*k_thread_entry_t)(void *, void *, void *);
typedef struct k_thread *k_tid_t;

#define K_NO_WAIT ((k_timeout_t){0})
#define K_FOREVER ((k_timeout_t){-1})
#define K_MEM_SLAB_DEFINE_STATIC(name, size, count, alignment)                                                         \
    static char name##_memory[(size) * (count)] __attribute__((aligned(alignment)));                                   \
    static struct k_mem_slab name = {name##_memory, size, count, 0}
#define K_SEM_DEFINE(name, start, most) struct k_sem name = {start, most}
#define K_THREAD_STACK_DEFINE(name, size) k_thread_stack_t name[size]
#define K_THREAD_STACK_SIZEOF(name) sizeof(name)
#define ARG_UNUSED(x) (void)(x)
#define DT_NODELABEL(label) stub_node_##label
#define DEVICE_DT_GET(node) (&node)

extern const struct device stub_node_dmic_dev;

bool device_is_ready(const struct device *device);
void k_mem_slab_free(struct k_mem_slab *slab, void *memory);
void k_sem_give(struct k_sem *semaphore);
int k_sem_take(struct k_sem *semaphore, k_timeout_t timeout);
k_tid_t k_thread_create(struct k_thread *thread, k_thread_stack_t *stack, size_t size, k_thread_entry_t entry, void *p1,
                        void *p2, void *p3, int priority, uint32_t options, k_timeout_t delay);

#endif
