"""The operators TensorFlow Lite Micro registers, and the methods that register them."""

from pathlib import Path

from edgeprune.errors import EdgepruneError
from edgeprune.tflite.flatbuffer import operators

_OPERATORS = """
    ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CAST
    CEIL CONCATENATION CONV_2D COS CUMSUM DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS
    FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH
    L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOG_SOFTMAX LOGICAL_AND LOGICAL_NOT LOGICAL_OR
    LOGISTIC MAX_POOL_2D MAXIMUM MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE REDUCE_MAX
    RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX
    SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF
    TANH TRANSPOSE TRANSPOSE_CONV UNPACK ZEROS_LIKE
"""
_IRREGULAR = {"BATCH_MATMUL": "BatchMatMul", "CUMSUM": "CumSum", "PADV2": "PadV2"}


def _method(operator: str) -> str:
    parts = operator.split("_")
    return _IRREGULAR.get(operator, "".join(part if part == "2D" else part.capitalize() for part in parts))


METHODS = {operator: _method(operator) for operator in _OPERATORS.split()}
"""By operator of TFLite, the method of TFLite Micro's `MicroMutableOpResolver` that registers it, without `Add`."""


def op_resolver(path: Path) -> tuple[int, list[str]]:
    """The number of operators the network needs, and the methods that register just these."""
    needed = sorted(set(operators(path)))
    missing = next((name for name in needed if name not in METHODS), None)
    if missing is not None:
        raise EdgepruneError(
            f"{path.name}: has the operator {missing}, which TensorFlow Lite Micro does not register; choose another "
            "target."
        )
    return len(needed), [f"Add{METHODS[name]}" for name in needed]
