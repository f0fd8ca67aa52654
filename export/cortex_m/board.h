/* Services of an emulated board for a test program: a clock, a console, the depth of the stack, an exit.
 *
 * They lie in the section .test, outside flash and RAM of the microcontroller, and so add nothing to the sizes of the
 * code under test. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

/* Constants too large for flash, such as test vectors: `BOARD_VECTORS int8_t clips[] = {...};` (not const) */
#define BOARD_VECTORS __attribute__((section(".test.data")))
/* Code of the test itself. */
#define BOARD_TEST __attribute__((section(".test.text"), noinline, long_call))

/* Ticks of the board's timer since start: 25 MHz, on the Cortex-M33's board 20 MHz. */
uint64_t board_ticks(void) BOARD_TEST;

/* Instructions in so many ticks, rounded: under QEMU's `-icount shift=6` each takes 64 ns. */
uint64_t board_instructions(uint64_t ticks) BOARD_TEST;

/* Like printf, of %s (text), %d, %u and %x (32 bits), %D and %U (64 bits), %%; no widths. */
void board_print(const char *format, ...) BOARD_TEST;

/* Bytes as two hexadecimal digits each, without a line's end. */
void board_print_hex(const void *bytes, size_t count) BOARD_TEST;

/* Paint the free part of the stack again, so that `board_stack_bytes` measures from here on. */
void board_stack_paint(void) BOARD_TEST;

/* Bytes of the deepest stack since it was painted (at start, or later), from the stack's top. */
size_t board_stack_bytes(void) BOARD_TEST;

/* End the program with this code; 0 is success. */
_Noreturn void board_exit(int code) BOARD_TEST;

/* For startup.c: before main, and on a fault. */
void board_begin(void) BOARD_TEST;
_Noreturn void board_fault(uint32_t exception, uint32_t stack_pointer) BOARD_TEST;
/* The timer has counted its 2^32 ticks. */
void board_timer_wrapped(void) BOARD_TEST;

#endif
