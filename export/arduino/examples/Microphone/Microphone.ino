// Prints what the microphone of a Nano 33 BLE Sense hears, on the serial monitor at 115200.
#include <PDM.h>
@tflm@#include <Chirale_TensorFlowLite.h>
#include <edgeprune_stream.h>

#if EP_SAMPLE_RATE != 16000 && EP_SAMPLE_RATE != 41667
#error "the PDM library of this board gives 16000 or 41667 Hz; train the network for one of them"
#endif

static const int gain = 40;  // of 0 to 80, half decibels; 40 is 0 dB
static int16_t block[512], queue[8192];  // the queue's size is a power of two
static ep_fifo fifo;
static ep_stream stream;

// In the interrupt of the microphone.
static void received() {
  size_t bytes = PDM.available();
  if (bytes > sizeof block) bytes = sizeof block;
  const int taken = PDM.read(block, bytes);
  if (taken > 0) ep_fifo_write(&fifo, block, taken / sizeof block[0]);
}

void setup() {
  Serial.begin(115200);
  ep_fifo_init(&fifo, queue, sizeof queue / sizeof queue[0]);
  ep_stream_reset(&stream);
  PDM.onReceive(received);
  PDM.setGain(gain);
  if (!PDM.begin(1, EP_SAMPLE_RATE)) {
    Serial.println("the microphone does not start");
    for (;;) {
    }
  }
}

void loop() {
  ep_decision decision;
  const int decided = ep_stream_listen(&stream, &fifo, &decision);
  if (decided < 0) Serial.println("the network failed");
  if (decided <= 0) return;
  Serial.print(ep_heard(&decision));
  Serial.print(" ");
  Serial.print(100 * decision.probability / EP_PROBABILITY_ONE);
  Serial.print("%, ");
  Serial.print(ep_level_dbfs(decision.mean_square));
  Serial.print(" dBFS, ");
  Serial.print(stream.dropped);
  Serial.println(" samples lost");
}
