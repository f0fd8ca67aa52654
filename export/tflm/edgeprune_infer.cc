#include "edgeprune_infer.h"

#include <string.h>

#include "edgeprune_model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

/* Newer releases keep their classes in tflite::micro, older ones in tflite. */
namespace tflite {
namespace micro {}
}  // namespace tflite

namespace {

using namespace tflite;
using namespace tflite::micro;

constexpr unsigned kSchema = 3;

alignas(16) uint8_t arena[EDGEPRUNE_ARENA_BYTES];
MicroInterpreter *interpreter = nullptr;

/* TfLiteStatus and its kTfLiteOk, which is 0, are not in the same namespace in all releases either. */
template <typename Status>
bool failed(Status status) {
    return static_cast<int>(status) != 0;
}

}  // namespace

extern "C" int edgeprune_init(void) {
    static MicroMutableOpResolver<@OPERATORS@> operators;
    static bool added = false;
    if (interpreter != nullptr)
        return EDGEPRUNE_OK;
    const auto *model = GetModel(edgeprune_model);
    if (model->version() != kSchema)
        return EDGEPRUNE_OTHER_NETWORK;
    if (!added) {
@ADDED@
        added = true;
    }
    static MicroInterpreter only(model, operators, arena, sizeof arena);
    if (failed(only.AllocateTensors()))
        return EDGEPRUNE_NO_MEMORY;
    if (only.input(0)->bytes != EDGEPRUNE_INPUT_SIZE || only.output(0)->bytes != EDGEPRUNE_CLASSES)
        return EDGEPRUNE_OTHER_NETWORK;
    interpreter = &only;
    return EDGEPRUNE_OK;
}

extern "C" int edgeprune_infer(const int8_t *input, int8_t *output) {
    if (interpreter == nullptr)
        return EDGEPRUNE_FAILED;
    memcpy(interpreter->input(0)->data.int8, input, EDGEPRUNE_INPUT_SIZE);
    if (failed(interpreter->Invoke()))
        return EDGEPRUNE_FAILED;
    memcpy(output, interpreter->output(0)->data.int8, EDGEPRUNE_CLASSES);
    return EDGEPRUNE_OK;
}

extern "C" size_t edgeprune_arena_used(void) {
    return interpreter == nullptr ? 0 : interpreter->arena_used_bytes();
}
