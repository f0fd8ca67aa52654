"""Small allocation problems, and all of their allocations."""

from itertools import product

import numpy as np
from hypothesis import strategies as st

from edgeprune.pruning.allocation.cost_polynomials import Forms
from edgeprune.pruning.allocation.local_search import Problem
from edgeprune.pruning.allocation.objective import importance


@st.composite
def problems(draw) -> Problem:
    """A chain of 3 or 4 convolutions of up to 8 filters and a dense layer of 10, with limits that some widths meet."""
    filters = draw(st.lists(st.integers(1, 8), min_size=3, max_size=4))
    kernels = [draw(st.sampled_from([1, 3, 9, 49])) for _ in filters]
    places = sorted((draw(st.integers(1, 3_000)) for _ in filters), reverse=True)
    groups = len(filters)
    quadratic, linear = np.zeros((2, groups, groups), np.int64), np.zeros((2, groups), np.int64)
    linear[0] += 1  # biases
    linear[:, -1] += 10
    linear[:, 0] += [kernels[0], kernels[0] * places[0]]
    for layer in range(1, groups):
        for row, weight in enumerate((kernels[layer], kernels[layer] * places[layer])):
            quadratic[row, layer, layer - 1] = quadratic[row, layer - 1, layer] = weight
    memory = np.zeros((groups - 1, groups), np.int64)
    for layer in range(1, groups):
        memory[layer - 1, layer - 1 : layer + 1] = places[layer - 1 : layer + 1]
    forms = Forms(
        names=tuple(f"conv{layer}" for layer in range(1, groups + 1)),
        limits=("params", "macs", *("peak_ram",) * (groups - 1)),
        constant=np.array([10, 0, *[0] * (groups - 1)]),
        linear=np.concatenate([linear, memory]),
        quadratic=np.concatenate([quadratic, np.zeros((groups - 1, groups, groups), np.int64)]),
    ).only(draw(st.sampled_from([["params"], ["macs"], ["params", "macs"], ["params", "macs", "peak_ram"]])))
    step = draw(st.sampled_from([1, 1, 2, 4]))
    options = [np.array(sorted({*range(step, most + 1, step), most})) for most in filters]
    rng = np.random.default_rng(draw(st.integers(0, 9_999)))
    heavy = draw(st.booleans())
    scores = {
        name: (rng.pareto(1.0, most) if heavy else rng.random(most)).tolist()
        for name, most in zip(forms.names, filters, strict=True)
    }
    worth = importance(scores, draw(st.sampled_from(["log_mass", "mass", "log_width"])))
    values = [worth[name][widths] for name, widths in zip(forms.names, options, strict=True)]
    least, most = (forms.values(np.array([[widths[end] for widths in options]]))[0] for end in (0, -1))
    share = np.array([draw(st.floats(0, 1)) for _ in set(forms.limits)])
    limit = dict(zip(dict.fromkeys(forms.limits), share, strict=True))
    peak = {name: max(most[np.array(forms.limits) == name]) for name in limit}
    low = {name: max(least[np.array(forms.limits) == name]) for name in limit}
    limits = np.array([int(low[name] + limit[name] * (peak[name] - low[name])) for name in forms.limits])
    return Problem(forms, limits, options, values)


def all_allocations(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every combination of options, its value, and whether it fits, each summed up by hand."""
    chosen = np.array(list(product(*(range(len(widths)) for widths in problem.options))))
    value, fits = np.zeros(len(chosen)), np.ones(len(chosen), bool)
    for index, options in enumerate(chosen):
        widths = [int(problem.options[group][option]) for group, option in enumerate(options)]
        value[index] = sum(problem.values[group][option] for group, option in enumerate(options))
        for row, limit in enumerate(problem.limits):
            cost = int(problem.forms.constant[row])
            for one, width in enumerate(widths):
                cost += int(problem.forms.linear[row, one]) * width
                for other, second in enumerate(widths[: one + 1]):
                    product_ = int(problem.forms.quadratic[row, one, other]) * width * second
                    cost += product_ // 2 if one == other else product_
            fits[index] &= cost <= limit
    return chosen, value, fits
