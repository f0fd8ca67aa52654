// STUB for tests: the sketch's calls on this computer; the microphone's interrupt comes before each loop.
#include <iostream>

#include "PDM.h"
#include "stub_signal.h"

Console Serial;
PDMClass PDM;
static void (*received)();
static int16_t block[256];
static size_t heard;

void Console::begin(long) {}
template <typename Value> void Console::print(Value value) { std::cout << value; }
template <typename Value> void Console::println(Value value) { std::cout << value << std::endl; }
template void Console::print(const char *);
template void Console::print(int);
template void Console::print(unsigned);
template void Console::println(const char *);

int PDMClass::begin(int channels, int rate) { return channels == 1 && rate == 16000; }
int PDMClass::available() { return static_cast<int>(2 * heard); }
int PDMClass::read(void *buffer, size_t bytes) {
    for (size_t i = 0; i < bytes / 2; ++i) static_cast<int16_t *>(buffer)[i] = block[i];
    return static_cast<int>(bytes);
}
void PDMClass::onReceive(void (*callback)()) { received = callback; }
void PDMClass::setGain(int) {}

int main() {
    setup();
    while ((heard = stub_hear(block, 256)) > 0) {
        received();
        loop();
    }
    stub_end();
}
