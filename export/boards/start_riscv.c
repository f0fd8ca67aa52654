/* A RISC-V processor of QEMU's machine `virt` from reset on: traps, semihosting, and minstret as the clock. */
#include "board.h"

/* Instructions on control and status registers, which RV32IMC proper does not name. */
#define CSR(text) ".option push\n .option arch, +zicsr\n" text "\n .option pop\n"

/* The stack itself may be broken, so the trap handler starts with a fresh one. */
__attribute__((naked, used, aligned(4))) void trap_handler(void)
{
    __asm__ volatile(CSR("csrr a0, mcause\n csrr a2, mepc\n csrr a3, mtval")
                     "mv a1, sp\n"
                     "la sp, __stack_top\n"
                     "tail board_fault\n");
}

__attribute__((naked, used)) void reset_handler(void)
{
    __asm__ volatile("la sp, __stack_top\n"
                     "la t0, trap_handler\n"
                     CSR("csrw mtvec, t0")
                     "tail board_start\n");
}

/* The three instructions must not be compressed, and lie in one page of memory. */
int32_t board_semihost(uint32_t call, const void *arguments)
{
    register uint32_t a0 __asm__("a0") = call;
    register const void *a1 __asm__("a1") = arguments;
    __asm__ volatile(".option push\n"
                     ".option norvc\n"
                     ".balign 16\n"
                     "slli x0, x0, 0x1f\n"
                     "ebreak\n"
                     "srai x0, x0, 7\n"
                     ".option pop\n"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return (int32_t)a0;
}

static BOARD_TEST uint64_t retired(void)
{
    uint32_t high, low, again;
    do {
        __asm__ volatile(CSR("csrr %0, minstreth\n csrr %1, minstret\n csrr %2, minstreth")
                         : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

/* QEMU 7.2 counts the nanoseconds of an instruction in minstret, and other versions the instruction. */
uint64_t board_ticks(void)
{
    uint32_t first, second;
    __asm__ volatile(CSR("csrr %0, minstret\n csrr %1, minstret") : "=r"(first), "=r"(second));
    const uint64_t count = retired();
    if (second - first == 1)
        return count;
    const uint32_t high = (uint32_t)(count >> 32), low = (uint32_t)count;
    return (uint64_t)(high >> 6) << 32 | (high << 26 | low >> 6);
}
