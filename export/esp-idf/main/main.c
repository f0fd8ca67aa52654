#include <stdio.h>

#include "edgeprune_selftest.h"

static void print(const char *line) { printf("%s\n", line); }

void app_main(void) { edgeprune_selftest(print); }
