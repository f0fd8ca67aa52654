/* From reset to main on a Cortex-M: vector table, data and bss, floating-point unit. */
#include "board.h"

extern uint32_t __stack_top[], __stack_bottom[];
extern uint32_t __data_start[], __data_end[], __data_load[], __bss_start[], __bss_end[];

int main(void);

/* The stack itself may be broken, so the fault handler starts with a fresh one. */
__attribute__((naked)) void fault_handler(void)
{
    __asm__ volatile("mrs r0, ipsr\n"
                     "mrs r1, msp\n"
                     "ldr r2, =__stack_top\n"
                     "msr msp, r2\n"
                     "ldr r2, =board_fault\n"
                     "bx r2\n");
}

__attribute__((noreturn)) void reset_handler(void)
{
#if defined(__ARM_FP)
    volatile uint32_t *const coprocessors = (volatile uint32_t *)0xE000ED88u;
    *coprocessors |= 0xFu << 20;
    __asm__ volatile("dsb\nisb");
#endif
    /* volatile: these loops must not become calls of library functions */
    volatile uint32_t *to = __data_start;
    for (const uint32_t *from = __data_load; to < __data_end;)
        *to++ = *from++;
    for (to = __bss_start; to < __bss_end;)
        *to++ = 0;
    board_begin();
    board_exit(main());
}

#define FAULT fault_handler
#define TIMER board_timer_wrapped
__attribute__((section(".isr_vector"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))__stack_top,
    reset_handler,
    FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT, FAULT,
    /* Interrupts 0 to 15; only the timer's is ever enabled. */
    TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER, TIMER,
};
