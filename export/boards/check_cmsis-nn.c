/* Runs a network on stored clips and prints the number, the instructions and the output of each clip. With BY_LAYER the
 * network calls `board_mark` between its layers, and their instructions are printed too. */
#include "board.h"
#include "bknn_net.h"
#include "clips.h"

#if BKNN_NET_ARENA_SIZE
static _Alignas(BKNN_NET_ARENA_ALIGNMENT) uint8_t arena[BKNN_NET_ARENA_SIZE];
#else
static uint8_t *const arena = NULL;
#endif
static int8_t input[BKNN_NET_INPUT_BYTES], output[BKNN_NET_OUTPUT_BYTES];

#ifdef BY_LAYER
static uint64_t marks[BY_LAYER + 2];
static size_t marked;

void board_mark(void)
{
    marks[marked++] = board_ticks();
}

/* The network marks twice before its first layer: the difference is the cost of a mark. */
static void print_layers(size_t clip)
{
    const uint64_t mark = marks[1] - marks[0];
    for (size_t layer = 0; layer < BY_LAYER; ++layer) {
        const uint64_t ticks = marks[layer + 2] - marks[layer + 1];
        board_print("layer %u %u %U\n", (unsigned)clip, (unsigned)layer,
                    board_instructions(ticks > mark ? ticks - mark : 0));
    }
}
#endif

int main(void)
{
    for (size_t clip = 0; clip < CLIPS; ++clip) {
        for (size_t i = 0; i < sizeof input; ++i)
            input[i] = clips[clip][i];
#ifdef BY_LAYER
        marked = 0;
#endif
        const uint64_t start = board_ticks();
        bknn_net_infer(arena, input, output);
        const uint64_t ticks = board_ticks() - start;
        board_print("clip %u %U ", (unsigned)clip, board_instructions(ticks));
        board_print_hex(output, sizeof output);
        board_print("\n");
#ifdef BY_LAYER
        print_layers(clip);
#endif
    }
    board_print("all %u clips done\n", (unsigned)CLIPS);
    return 0;
}
