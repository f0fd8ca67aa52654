// STUB for tests: NOT Arduino's core.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct Console {
    void begin(long);
    template <typename Value> void print(Value value);
    template <typename Value> void println(Value value);
    explicit operator bool() const { return true; }
};
extern Console Serial;
void setup();
void loop();
