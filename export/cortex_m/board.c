/* The board of a test program under QEMU: CMSDK timer as clock, semihosting as console. */
#include "board.h"

#include <stdarg.h>

#ifndef BOARD_TIMER
#error "BOARD_TIMER: address of the CMSDK timer, BOARD_TIMER_IRQ: its interrupt, BOARD_TICK_NS: nanoseconds a tick"
#endif

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define TIMER_CONTROL REGISTER(BOARD_TIMER + 0x0)
#define TIMER_VALUE REGISTER(BOARD_TIMER + 0x4)
#define TIMER_RELOAD REGISTER(BOARD_TIMER + 0x8)
#define TIMER_INTERRUPT REGISTER(BOARD_TIMER + 0xC)
#define NVIC_ENABLE REGISTER(0xE000E100u)

#define SYS_OPEN 0x01
#define SYS_WRITE 0x05
#define SYS_EXIT_EXTENDED 0x20
#define APPLICATION_EXIT 0x20026

#define PAINT 0xA5C3A5C3u
#define EXIT_FAULT 70

extern uint32_t __stack_bottom[], __stack_top[];

/* Texts are arrays in .test, because literals would lie in .rodata, which is flash. */
#define TEXT(name, value) static char name[] BOARD_VECTORS = value
#define STATE __attribute__((section(".test.data")))

static int32_t console STATE = -1;
static volatile uint32_t wraps STATE = 0;

static BOARD_TEST int32_t semihost(uint32_t call, const void *arguments)
{
    register uint32_t r0 __asm__("r0") = call;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory", "cc");
    return (int32_t)r0;
}

void board_begin(void)
{
    TEXT(terminal, ":tt");
    static uint32_t arguments[] STATE = {0, 4 /* to write */, sizeof terminal - 1};
    arguments[0] = (uint32_t)terminal;
    console = semihost(SYS_OPEN, arguments);
    board_stack_paint();
    TIMER_CONTROL = 0;
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    NVIC_ENABLE = 1u << BOARD_TIMER_IRQ;
    TIMER_CONTROL = 0x9; /* count, and interrupt at zero */
}

void board_timer_wrapped(void)
{
    TIMER_INTERRUPT = 1;
    ++wraps;
}

uint64_t board_ticks(void)
{
    for (;;) {
        const uint32_t before = wraps;
        const uint32_t value = TIMER_VALUE;
        if (before == wraps)
            return ((uint64_t)before << 32) | (0xFFFFFFFFu - value);
    }
}

uint64_t board_instructions(uint64_t ticks)
{
    return (ticks * BOARD_TICK_NS + 32) >> 6;
}

static BOARD_TEST void write(const char *text, size_t count)
{
    const uint32_t arguments[] = {(uint32_t)console, (uint32_t)text, count};
    semihost(SYS_WRITE, arguments);
}

/* Write the digits of a number in base 10 or 16 to the bytes before `end` and return their beginning. Division is by
 * subtraction, because a 64-bit division would call a function that lies in flash. */
static BOARD_TEST char *digits(uint64_t value, uint32_t base, char *end)
{
    do {
        uint64_t quotient = 0, rest = value;
        for (int bit = 63; bit >= 0; --bit) {
            if ((rest >> bit) >= base) {
                rest -= (uint64_t)base << bit;
                quotient |= (uint64_t)1 << bit;
            }
        }
        *--end = (char)(rest < 10 ? '0' + rest : 'a' + rest - 10);
        value = quotient;
    } while (value != 0);
    return end;
}

static BOARD_TEST void write_number(uint64_t value, uint32_t base, int negative)
{
    char buffer[24], *end = buffer + sizeof buffer;
    char *start = digits(negative ? -value : value, base, end);
    if (negative)
        *--start = '-';
    write(start, (size_t)(end - start));
}

static BOARD_TEST size_t length(const char *text)
{
    const char *end = text;
    while (*end != '\0')
        ++end;
    return (size_t)(end - text);
}

void board_print(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    while (*format != '\0') {
        const char *start = format;
        while (*format != '\0' && *format != '%')
            ++format;
        if (format != start)
            write(start, (size_t)(format - start));
        if (*format == '\0')
            break;
        const char kind = *++format;
        if (kind == 's') {
            const char *text = va_arg(values, const char *);
            write(text, length(text));
        } else if (kind == 'd') {
            const int32_t value = va_arg(values, int);
            write_number((uint64_t)(int64_t)value, 10, value < 0);
        } else if (kind == 'D') {
            const int64_t value = va_arg(values, int64_t);
            write_number((uint64_t)value, 10, value < 0);
        } else if (kind == 'u' || kind == 'x') {
            write_number(va_arg(values, unsigned), kind == 'u' ? 10 : 16, 0);
        } else if (kind == 'U') {
            write_number(va_arg(values, uint64_t), 10, 0);
        } else {
            write(format, kind != '\0');
        }
        format += kind != '\0';
    }
    va_end(values);
}

void board_print_hex(const void *bytes, size_t count)
{
    const uint8_t *byte = bytes;
    char buffer[64];
    while (count > 0) {
        size_t used = 0;
        for (; count > 0 && used < sizeof buffer; --count, ++byte) {
            for (int shift = 4; shift >= 0; shift -= 4) {
                const uint32_t digit = (*byte >> shift) & 15u;
                buffer[used++] = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
            }
        }
        write(buffer, used);
    }
}

void board_stack_paint(void)
{
    volatile uint32_t *end;
    __asm__ volatile("mov %0, sp" : "=r"(end));
    for (volatile uint32_t *word = __stack_bottom; word < end; ++word)
        *word = PAINT;
}

size_t board_stack_bytes(void)
{
    const uint32_t *word = __stack_bottom;
    while (word < __stack_top && *(const volatile uint32_t *)word == PAINT)
        ++word;
    return (size_t)(__stack_top - word) * sizeof *word;
}

void board_exit(int code)
{
    const uint32_t arguments[] = {APPLICATION_EXIT, (uint32_t)code};
    semihost(SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}

void board_fault(uint32_t exception, uint32_t stack_pointer)
{
    TEXT(overflow, "fault: the stack of %u bytes overflowed\n");
    TEXT(other, "fault: exception %u, status 0x%x, bus address 0x%x\n");
    if (stack_pointer < (uint32_t)__stack_bottom)
        board_print(overflow, (unsigned)((__stack_top - __stack_bottom) * sizeof(uint32_t)));
    else
        board_print(other, (unsigned)exception, (unsigned)REGISTER(0xE000ED28u), (unsigned)REGISTER(0xE000ED38u));
    board_exit(EXIT_FAULT);
}
