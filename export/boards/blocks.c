/* A plugin of QEMU's translator (API version 1): which blocks of instructions ran, how often, and how often each was left
 * by a jump. At the end it writes, for each block, `start instructions runs jumps` to the file given as `out=FILE`.
 *
 * The functions are declared here as QEMU's "TCG plugins" documentation names them, since not every system has the
 * header. A block may be translated more than once, and then has several lines. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *instruction);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*call)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, void (*call)(unsigned, void *), int flags,
                                          void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*call)(plugin_id, void *), void *data);

SHOWN int qemu_plugin_version = 1;

struct block {
    uint64_t start, end, runs, jumps;
    size_t instructions;
    struct block *older;
};

static struct block *newest, *last_run;
static FILE *out;

static void ran(unsigned processor, void *data)
{
    struct block *block = data;
    (void)processor;
    if (last_run != NULL && last_run->end != block->start)
        ++last_run->jumps;
    ++block->runs;
    last_run = block;
}

static void translated(plugin_id id, struct qemu_plugin_tb *translation)
{
    struct block *block = calloc(1, sizeof *block);
    (void)id;
    if (block == NULL)
        abort();
    block->instructions = qemu_plugin_tb_n_insns(translation);
    const struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(translation, block->instructions - 1);
    block->start = qemu_plugin_tb_vaddr(translation);
    block->end = qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last);
    block->older = newest;
    newest = block;
    qemu_plugin_register_vcpu_tb_exec_cb(translation, ran, 0, block);
}

static void ended(plugin_id id, void *data)
{
    (void)id;
    (void)data;
    for (const struct block *block = newest; block != NULL; block = block->older)
        if (block->runs != 0)
            fprintf(out, "%llu %llu %llu %llu\n", (unsigned long long)block->start,
                    (unsigned long long)block->instructions, (unsigned long long)block->runs,
                    (unsigned long long)block->jumps);
    fclose(out);
}

SHOWN int qemu_plugin_install(plugin_id id, const void *about, int count, char **arguments);
int qemu_plugin_install(plugin_id id, const void *about, int count, char **arguments)
{
    (void)about;
    for (int i = 0; i < count; ++i)
        if (strncmp(arguments[i], "out=", 4) == 0)
            out = fopen(arguments[i] + 4, "w");
    if (out == NULL)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
