"""The rules of DCASE Task 1, and the counts of other tools rebuilt from ours term by term."""

import math
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import Cost, cost
from edgeprune.models.registry import make_spec
from edgeprune.submitting.rules import BITS, RULES, check_rules, find_rules, limits

POOLS = {"pool1": 5 * 5, "pool2": 4 * 10}


def made(params=1000, biases=0, macs=0, unknown=()):
    """A network's sums alone; `biases` of the parameters are biases."""
    return Cost(params, None, None, macs, 0, params + 3 * biases, (), unknown)


@pytest.fixture(scope="module")
def baseline():
    """The baseline of DCASE 2022: DCASE21_Net at one second."""
    return cost(make_spec("dcase21", 10, (1, 40, 51)))


def positions(layer):
    return math.prod(layer.output_shape) // layer.filters


def counted(verdicts):
    return {verdict.rule: (verdict.counted, verdict.passed) for verdict in verdicts}


def test_every_year_has_limits_and_an_official_source():
    assert list(RULES) == ["dcase2021", "dcase2022", "dcase2023", "dcase2024", "dcase2025"]
    for name, rules in RULES.items():
        assert rules.name == name
        assert f"https://dcase.community/challenge{name[5:]}/" in rules.source
        assert rules.note
        assert len({rule.key for rule in rules.rules}) == len(rules.rules)
    with pytest.raises(FrozenInstanceError):
        RULES["dcase2022"].rules[0].limit = 1  # type: ignore[misc]


def test_the_baseline_keeps_the_rules_of_its_year(baseline):
    verdicts = check_rules("dcase2022", baseline)
    assert counted(verdicts) == {"parameters": (45_990, True), "macs": (29_203_560, True), "type": (8, True)}
    assert [verdict.limit for verdict in verdicts] == [128_000, 30_000_000, 8]
    assert {verdict.word for verdict in verdicts} == {"passed"}
    assert counted(check_rules("dcase2024", baseline)) == {"memory": (46_512, True), "macs": (29_203_560, True)}
    for alike in ("dcase2023", "dcase2025"):
        assert counted(check_rules(alike, baseline)) == counted(check_rules("dcase2024", baseline))


def test_published_sizes():
    ten_seconds = cost(make_spec("dcase21", 10))
    (size,) = check_rules("dcase2021", ten_seconds, bits=16)
    assert (size.counted, size.passed) == (91_980, True)  # the README's 89.82 KB, as float16 .tflite
    # Its Keras model: batch norm is not folded and stays in float32.
    normalised = 4 * (16 + 16 + 32)
    assert ten_seconds.params_with_statistics == 46_246
    assert 2 * (46_246 - normalised) + 4 * normalised == 93_004  # 90.82 KB
    verdicts = check_rules("dcase2024", made(61_148, macs=29_419_156), bits=16)
    assert counted(verdicts) == {"memory": (122_296, True), "macs": (29_419_156, True)}
    assert counted(check_rules("dcase2024", made(61_148), bits=32))["memory"] == (244_592, False)


def test_limits_are_inclusive():
    assert counted(check_rules("dcase2022", made(128_000, macs=30_000_000)))["parameters"] == (128_000, True)
    assert counted(check_rules("dcase2022", made(128_001, macs=30_000_001))) == {
        "parameters": (128_001, False),
        "macs": (30_000_001, False),
        "type": (8, True),
    }


def test_zeros_count_from_2022_on():
    sparse = made(400_000)
    (size,) = check_rules("dcase2021", sparse, nonzero_params=100_000)
    assert (size.counted, size.passed) == (100_000, True)
    assert "100,000 non-zero parameters of 400,000" in size.how
    (size,) = check_rules("dcase2021", sparse)
    assert (size.counted, size.passed) == (400_000, False)
    assert "taken for non-zero" in size.how
    for name in ("dcase2022", "dcase2023", "dcase2024"):
        assert check_rules(name, sparse, nonzero_params=100_000)[0].counted == 400_000


def test_biases_of_int8_files_take_four_bytes():
    network = made(127_500, biases=500)
    memory = check_rules("dcase2024", network)[0]
    assert (memory.counted, memory.passed) == (129_000, False)
    assert "127,500, within the limit" in memory.how
    (size,) = check_rules("dcase2021", network)
    assert size.passed is False
    assert "within 128 KB of 1,024 bytes" in size.how
    parameters = check_rules("dcase2022", network)[0]
    assert parameters.passed is True
    assert "129,000, which is above" in parameters.how
    # All that is left may be biases.
    assert check_rules("dcase2021", network, nonzero_params=100)[0].counted == 400
    assert check_rules("dcase2021", network, nonzero_params=0)[0].counted == 0
    assert check_rules("dcase2024", network, bits=16)[0].counted == 255_000


def test_dcase2022_fixes_the_type():
    assert counted(check_rules("dcase2022", made(), bits=16))["type"] == (16, False)
    with pytest.raises(EdgepruneError, match="8-bit parameters only"):
        limits("dcase2022", bits=16)


@pytest.mark.parametrize(
    ("input_s", "macs", "says"),
    [
        (None, 20_000_000, "a 1-s segment"),
        (1.0, 20_000_000, "a 1-s segment"),
        (1.02, 20_000_000, "a 1-s segment"),
        (0.5, 40_000_000, "covered by 2 inputs of 0.5 s"),
        (0.1, 200_000_000, "covered by 10 inputs of 0.1 s"),
        (0.96, 40_000_000, "covered by 2 inputs"),
        (10.0, 20_000_000, "padded to the 10 s of the input takes a whole inference (built for 1 s"),
    ],
)
def test_macs_are_those_of_one_segment(input_s, macs, says):
    verdict = check_rules("dcase2023", made(macs=20_000_000), input_s=input_s)[1]
    assert (verdict.counted, verdict.passed) == (macs, macs <= 30_000_000)
    assert says in verdict.how


def test_ten_second_network_is_told_what_one_second_would_take():
    verdict = check_rules("dcase2022", cost(make_spec("dcase21", 10)), input_s=10.0)[1]
    assert (verdict.counted, verdict.passed) == (286_637_800, False)
    assert "28,663,780" in verdict.how


def test_close_to_the_limit_says_that_counters_differ():
    assert "NeSsi" in check_rules("dcase2022", made(macs=29_900_000))[1].how
    assert "NeSsi" not in check_rules("dcase2022", made(macs=29_000_000))[1].how


def test_unknown_operators_never_pass():
    verdicts = check_rules("dcase2022", made(unknown=("attention", "gru")))
    assert counted(verdicts) == {"parameters": (1000, None), "macs": (0, None), "type": (8, True)}
    assert "attention, gru" in verdicts[0].how
    assert verdicts[0].word == "unknown"
    # The part that is known may already be too much.
    assert check_rules("dcase2022", made(macs=40_000_000, unknown=("gru",)))[1].passed is False
    assert check_rules("dcase2021", made(unknown=("gru",)))[0].passed is None


def test_limits_of_a_budget():
    assert limits("dcase2022") == {"params": 128_000, "macs": 30_000_000}
    assert limits("dcase2021") == {"flash": 128_000}
    assert limits("dcase2021", bits=16) == {"params": 64_000}
    assert limits("dcase2024") == {"flash": 128_000, "macs": 30_000_000}
    assert limits("dcase2023", bits=32) == {"params": 32_000, "macs": 30_000_000}
    assert limits("dcase2023", input_s=0.3) == {"flash": 128_000, "macs": 7_500_000}
    assert limits("dcase2023", input_s=10.0)["macs"] == 30_000_000


@given(
    name=st.sampled_from(list(RULES)),
    bits=st.sampled_from(BITS),
    weights=st.integers(0, 140_000),
    biases=st.integers(0, 4_000),
    macs=st.integers(0, 35_000_000),
    input_s=st.none() | st.floats(0.05, 20),
    zeros=st.none() | st.floats(0, 1),
)
def test_what_meets_the_budget_passes_the_rules(name, bits, weights, biases, macs, input_s, zeros):
    if name == "dcase2022":
        bits = 8
    allowed = limits(name, bits, input_s)
    network = made(weights + biases, biases, macs)
    reached = {"params": network.params, "macs": network.macs, "flash": network.flash_bytes}
    nonzero = None if zeros is None else round(network.params * zeros)
    passed = [verdict.passed for verdict in check_rules(name, network, bits, nonzero, input_s)]
    if all(reached[figure] <= limit for figure, limit in allowed.items()):
        assert passed == [True] * len(passed)
    elif nonzero is None and name != "dcase2021":
        # And no tighter than the rules are.
        assert False in passed


@pytest.mark.parametrize("call", [limits, find_rules, lambda name: check_rules(name, made())])
def test_unknown_rules_name_the_nearest(call):
    with pytest.raises(EdgepruneError, match="rules 'dcase2020' is unknown; perhaps you meant 'dcase202"):
        call("dcase2020")


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"bits": 12}, "bits must be one of 8, 16, 32, not 12"),
        ({"input_s": 0.0}, "above 0, not 0.0"),
        ({"input_s": math.nan}, "above 0, not nan"),
        ({"nonzero_params": 1001}, "between 0 and the 1,000 parameters"),
        ({"nonzero_params": -1}, "between 0 and"),
    ],
)
def test_arguments_out_of_range(given_, message):
    with pytest.raises(EdgepruneError, match=message):
        check_rules("dcase2021", made(), **given_)


# What other tools count for the same network, rebuilt from our list of layers (docs/counting.md).


def nessi_of(baseline):
    """MACs as NeSsi counts them in the baseline's .tflite."""
    total = 0
    for layer in baseline.by_layer:
        total += layer.macs
        if layer.kind == "pool":
            total += math.prod(layer.output_shape) * POOLS[layer.name]
        if layer.name == "fc1":
            # Its input is the pool's [1, 2, 1, 32] as it is; only the last axis is counted.
            total -= layer.macs - 32 * layer.filters
    return total


def test_nessi(baseline):
    assert nessi_of(baseline) == 29_234_920
    assert 29_203_560 + 32_000 + 2_560 - 3_200 == 29_234_920
    assert baseline.flash_bytes == 46_512 == 45_990 + 3 * (16 + 16 + 32 + 100 + 10)


def test_torchinfo(baseline):
    """torchinfo 1.8.0: biases at every position, and batch norm's trained values once a clip."""
    biases = sum(layer.filters * positions(layer) for layer in baseline.by_layer if layer.params)
    trained = baseline.params_trainable - baseline.params
    assert (biases, trained) == (67_950, 128)
    assert baseline.macs + biases + trained == 29_271_638


def profiler_of(baseline):
    """Operations that TensorFlow's profiler counts, by what makes them."""
    convs = [layer for layer in baseline.by_layer if layer.kind == "conv"]
    return {
        "multiply and add": 2 * baseline.macs,
        "biases": sum(layer.filters * positions(layer) for layer in baseline.by_layer if layer.params),
        "batch norm, scale and shift": 2 * sum(layer.filters * positions(layer) for layer in convs),
        "batch norm, of its values": 6 * sum(layer.filters for layer in convs),
        "pools": sum(math.prod(layer.output_shape) * POOLS.get(layer.name, 0) for layer in baseline.by_layer),
        "softmax": 5 * 10,
    }


def test_profiler_terms(baseline):
    assert list(profiler_of(baseline).values()) == [58_407_120, 67_950, 135_680, 384, 34_560, 50]
    assert sum(profiler_of(baseline).values()) == 58_645_744


@pytest.mark.slow
def test_keras_and_its_profiler(baseline):
    tf = pytest.importorskip("tensorflow")
    from keras import Input, Sequential, layers

    def block(filters):
        return [layers.Conv2D(filters, 7, padding="same"), layers.BatchNormalization(), layers.ReLU()]

    network = Sequential(
        [
            Input((40, 51, 1)),
            *block(16),
            *block(16),
            layers.MaxPooling2D(5),
            *block(32),
            layers.MaxPooling2D((4, 10)),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    sizes = [sum(math.prod(w.shape) for w in ws) for ws in (network.trainable_weights, network.non_trainable_weights)]
    assert (network.count_params(), *sizes) == (46_246, 46_118, 128)
    assert (baseline.params_with_statistics, baseline.params_trainable) == (46_246, 46_118)
    call = tf.function(lambda x: network(x, training=False))
    graph = call.get_concrete_function(tf.TensorSpec((1, 40, 51, 1))).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output()
    profile = profiler.profile(graph=graph, cmd="op", options=options.build())
    assert profile.total_float_ops == sum(profiler_of(baseline).values())


def test_counts_of_the_published_file(shared_data, baseline):
    """The published .tflite itself, counted as NeSsi does: MACs, and bytes of the constants of its operators."""
    path = shared_data / "models" / "dcase2022_baseline" / "model_task1.tflite"
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    graph = model.subgraphs[0]
    builtin = schema.BuiltinOperator
    macs = weight_bytes = params = 0
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        inputs = [graph.tensors[index] for index in operator.inputs]
        out = math.prod(graph.tensors[operator.outputs[0]].shape)
        for tensor in inputs[1:]:
            weight_bytes += len(model.buffers[tensor.buffer].data)
            params += math.prod(tensor.shape)
        if kind in (builtin.CONV_2D, builtin.DEPTHWISE_CONV_2D):
            # The first layer became a depthwise one of 16 filters on its single channel.
            macs += out * math.prod(inputs[1].shape[1:]) // (16 if kind == builtin.DEPTHWISE_CONV_2D else 1)
        elif kind == builtin.MAX_POOL_2D:
            macs += out * operator.builtinOptions.filterHeight * operator.builtinOptions.filterWidth
        elif kind == builtin.FULLY_CONNECTED:
            macs += out * inputs[0].shape[-1]
    assert macs == nessi_of(baseline)
    assert (weight_bytes, params) == (baseline.flash_bytes, baseline.params)
    assert path.stat().st_size == 52_424 == weight_bytes + 5_912
    marks = [
        tensor.quantization for tensor in graph.tensors if tensor.quantization and tensor.quantization.scale is not None
    ]
    assert sum(4 * len(mark.scale) + 8 * len(mark.zeroPoint) for mark in marks) == 1_692
    assert sum(len(tensor.name) for tensor in graph.tensors) == 613


def test_costs_of_files_may_lack_what_training_knows(baseline):
    of_a_file = replace(baseline, params_trainable=None, params_with_statistics=None)
    for name in RULES:
        assert check_rules(name, of_a_file) == check_rules(name, baseline)
