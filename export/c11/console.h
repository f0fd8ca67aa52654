/* Where the example prints: standard output, or the console of an emulated board (-DON_BOARD). */
#ifndef CONSOLE_H
#define CONSOLE_H

#ifdef ON_BOARD
#include "board.h"
#define PRINT(...) board_print(__VA_ARGS__)
#define TABLE BOARD_VECTORS /* outside the flash that is counted */
#define INSTRUCTIONS() board_instructions(board_ticks())
#else
#include <stdio.h>
#define PRINT(...) printf(__VA_ARGS__)
#define TABLE const
#define INSTRUCTIONS() 0
#endif

#endif
