/* The board of a test program under QEMU: semihosting as console, the stack's depth, faults. */
#include "board.h"

#include <stdarg.h>

#ifndef BOARD_HALF_NS
#error "BOARD_HALF_NS: half nanoseconds of a tick of the board's clock"
#endif

#define SYS_OPEN 0x01
#define SYS_WRITE 0x05
#define SYS_EXIT_EXTENDED 0x20
#define APPLICATION_EXIT 0x20026

#define PAINT 0xA5C3A5C3u
#define EXIT_FAULT 70

extern uint32_t __stack_bottom[], __stack_top[];
extern uint32_t __data_start[], __data_end[], __data_load[], __bss_start[], __bss_end[];

/* Texts are arrays in .test, because literals would lie in .rodata, which is flash. Nothing here divides, multiplies or
 * shifts 64 bits, because a small processor does so by calling functions that lie in flash. */
#define TEXT(name, value) static char name[] BOARD_VECTORS = value
#define STATE __attribute__((section(".test.data")))

static int32_t console STATE = -1;

int main(void);
static void begin(void) BOARD_TEST;

_Noreturn void board_start(void)
{
    /* volatile: these loops must not become calls of library functions */
    volatile uint32_t *to = __data_start;
    for (const uint32_t *from = __data_load; to < __data_end;)
        *to++ = *from++;
    for (to = __bss_start; to < __bss_end;)
        *to++ = 0;
    begin();
    board_exit(main());
}

static void begin(void)
{
    TEXT(terminal, ":tt");
    static uint32_t arguments[] STATE = {0, 4 /* to write */, sizeof terminal - 1};
    arguments[0] = (uint32_t)terminal;
    console = board_semihost(SYS_OPEN, arguments);
    board_stack_paint();
}

uint64_t board_instructions(uint64_t ticks)
{
    uint64_t half_ns = 0;
    for (uint32_t bit = 0x80; bit != 0; bit >>= 1) {
        half_ns += half_ns;
        if (BOARD_HALF_NS & bit)
            half_ns += ticks;
    }
    half_ns += 64; /* half an instruction */
    const uint32_t high = (uint32_t)(half_ns >> 32), low = (uint32_t)half_ns;
    return (uint64_t)(high >> 7) << 32 | (high << 25 | low >> 7);
}

static BOARD_TEST void write(const char *text, size_t count)
{
    const uint32_t arguments[] = {(uint32_t)console, (uint32_t)text, count};
    board_semihost(SYS_WRITE, arguments);
}

/* Write the digits of a number in base 10 or 16 to the bytes before `end` and return their beginning. */
static BOARD_TEST char *digits(uint64_t value, uint32_t base, char *end)
{
    do {
        uint64_t quotient = 0;
        uint32_t digit = 0;
        for (int bit = 0; bit < 64; ++bit) { /* long division in base 2, the highest bit first */
            digit = 2 * digit + ((uint32_t)(value >> 32) >> 31);
            value += value;
            quotient += quotient;
            if (digit >= base) {
                digit -= base;
                ++quotient;
            }
        }
        *--end = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
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
#ifdef __arm__
    __asm__ volatile("mov %0, sp" : "=r"(end));
#else
    __asm__ volatile("mv %0, sp" : "=r"(end));
#endif
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

void board_print_stack(size_t bytes)
{
    TEXT(text, "stack %u\n");
    board_print(text, (unsigned)bytes);
}

void board_exit(int code)
{
    const uint32_t arguments[] = {APPLICATION_EXIT, (uint32_t)code};
    board_semihost(SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}

void board_fault(uint32_t exception, uint32_t stack_pointer, uint32_t status, uint32_t address)
{
    TEXT(overflow, "fault: the stack of %u bytes overflowed\n");
    TEXT(other, "fault: exception %u, status 0x%x, address 0x%x\n");
    if (stack_pointer < (uint32_t)__stack_bottom)
        board_print(overflow, (unsigned)((__stack_top - __stack_bottom) * sizeof(uint32_t)));
    else
        board_print(other, (unsigned)exception, (unsigned)status, (unsigned)address);
    board_exit(EXIT_FAULT);
}
