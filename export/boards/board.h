/* Services of an emulated board for a test program: a clock, a console, the depth of the stack, an exit.
 *
 * They lie in the section .test, outside flash and RAM of the microcontroller, and so add nothing to the sizes of the
 * code under test. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __arm__
#define BOARD_FAR long_call
#else
#define BOARD_FAR /* a call reaches all addresses */
#endif

/* Constants too large for flash, such as test vectors: `BOARD_VECTORS int8_t clips[] = {...};` (not const) */
#define BOARD_VECTORS __attribute__((section(".test.data")))
/* Code of the test itself. */
#define BOARD_TEST __attribute__((section(".test.text"), noinline, BOARD_FAR))

/* Ticks of the board's clock since it was first read; it runs from then on. */
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

/* Print `stack N`, for a program that measures nothing else. */
void board_print_stack(size_t bytes) BOARD_TEST;

/* End the program with this code; 0 is success. */
_Noreturn void board_exit(int code) BOARD_TEST;

/* What follows is for the files of the board alone. */

/* Place variables, prepare the board and run main; the stack is there. In flash. */
_Noreturn void board_start(void);

/* A semihosting call, as Arm's and RISC-V's specifications number them. */
int32_t board_semihost(uint32_t call, const void *arguments) BOARD_TEST;

/* End the program with a sentence on a fault. */
_Noreturn void board_fault(uint32_t exception, uint32_t stack_pointer, uint32_t status, uint32_t address) BOARD_TEST;

#endif
