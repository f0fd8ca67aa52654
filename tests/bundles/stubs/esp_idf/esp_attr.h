/* STUB for tests: NOT ESP-IDF. */
#define IRAM_ATTR
