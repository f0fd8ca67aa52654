#include <stdio.h>

#include "edgeprune_selftest.h"

static void print(const char *line) { printf("%s\n", line); }

int main() { return edgeprune_selftest(print); }
