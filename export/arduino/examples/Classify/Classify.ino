// Checks the network on its test vectors and listens to a real clip; the result is on the serial monitor at 115200.
@tflm@#include <Chirale_TensorFlowLite.h>
#include <edgeprune_stream.h>
#include <edgeprune_selftest.h>

static void printLine(const char *line) { Serial.println(line); }

void setup() {
  Serial.begin(115200);
  while (!Serial) {
  }
  edgeprune_selftest(printLine);
}

void loop() {}
