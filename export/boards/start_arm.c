/* A Cortex-M from reset on: vector table, floating-point unit, semihosting, faults, and SysTick as the clock. */
#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define SYSTICK_LAST 0xFFFFFFu

extern uint32_t __stack_top[];

static volatile uint32_t wraps BOARD_VECTORS = 0;

/* The stack itself may be broken, so the fault handler starts with a fresh one. */
__attribute__((naked)) static void fault_handler(void)
{
    __asm__ volatile("mrs r0, ipsr\n"
                     "mrs r1, msp\n"
                     "ldr r2, =__stack_top\n"
                     "msr msp, r2\n"
                     "ldr r2, =board_arm_fault\n"
                     "bx r2\n");
}

_Noreturn void board_arm_fault(uint32_t exception, uint32_t stack_pointer) BOARD_TEST __attribute__((used));
void board_arm_fault(uint32_t exception, uint32_t stack_pointer)
{
#ifdef __ARM_ARCH_6M__ /* which does not say what went wrong */
    const uint32_t status = 0, address = 0;
#else
    const uint32_t status = REGISTER(0xE000ED28u), address = REGISTER(0xE000ED38u);
#endif
    board_fault(exception, stack_pointer, status, address);
}

__attribute__((noreturn)) void reset_handler(void)
{
#if defined(__ARM_FP)
    REGISTER(0xE000ED88u) |= 0xFu << 20;
    __asm__ volatile("dsb\nisb");
#endif
    board_start();
}

int32_t board_semihost(uint32_t call, const void *arguments)
{
    register uint32_t r0 __asm__("r0") = call;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory", "cc");
    return (int32_t)r0;
}

static void wrapped(void) BOARD_TEST;
static void wrapped(void)
{
    ++wraps;
}

/* The clock starts with the first call, so that a program that reads none has no interrupt on its stack. Each interrupt
 * adds some six instructions to ten million. */
uint64_t board_ticks(void)
{
    if ((SYSTICK_CONTROL & 1) == 0) {
        SYSTICK_RELOAD = SYSTICK_LAST;
        SYSTICK_VALUE = 0; /* reloads */
        SYSTICK_CONTROL = 7; /* count the processor's clock, and interrupt at zero */
        while (SYSTICK_VALUE == 0) {
        }
    }
    for (;;) {
        const uint32_t before = wraps;
        const uint32_t value = SYSTICK_VALUE;
        if (before == wraps)
            return ((uint64_t)(before >> 8) << 32) | (before << 24 | (SYSTICK_LAST - value));
    }
}

#define FAULT fault_handler
__attribute__((section(".isr_vector"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))__stack_top,
    reset_handler,
    FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT,
    wrapped, /* SysTick; no other interrupt is ever enabled */
};
