// STUB for tests: NOT Arduino's PDM library.
#pragma once
#include "Arduino.h"

struct PDMClass {
    int begin(int channels, int rate);
    int available();
    int read(void *buffer, size_t bytes);
    void onReceive(void (*callback)());
    void setGain(int gain);
};
extern PDMClass PDM;
