from hypothesis import given
from hypothesis import strategies as st

from edgeprune.comparing.comparison import MeanEstimate, Variant
from edgeprune.comparing.pareto import front, fronts


def test_a_front_by_hand() -> None:
    points = {
        "dense": (0.75, 46.0),
        "good": (0.74, 20.0),
        "as good, dearer": (0.74, 25.0),
        "worse, as cheap": (0.70, 20.0),
        "small": (0.60, 5.0),
    }
    assert front(points) == {"dense", "good", "small"}


def test_twins_are_both_on_it() -> None:
    assert front({"a": (0.7, 10.0), "b": (0.7, 10.0), "c": (0.7, 11.0)}) == {"a", "b"}
    assert front({}) == set()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_it_holds_what_no_point_beats(points) -> None:
    named = {str(place): point for place, point in enumerate(points)}

    def beaten(accuracy: float, cost: float) -> bool:
        return any(a >= accuracy and c <= cost and (a, c) != (accuracy, cost) for a, c in points)

    assert front(named) == {name for name, point in named.items() if not beaten(*point)}


def test_a_variant_without_a_figure_is_on_no_front_of_it() -> None:
    whole = Variant(
        "whole",
        "variant",
        {},
        {"macs": MeanEstimate(5, 1), "params": MeanEstimate(9, 1)},
        {"int8": MeanEstimate(0.6, 1)},
    )
    part = Variant("part", "variant", {}, {"macs": MeanEstimate(7, 1)}, {"int8": MeanEstimate(0.7, 1)})
    other = Variant("other", "variant", {}, {"macs": MeanEstimate(1, 1)}, {"float32": MeanEstimate(0.9, 1)})
    found = fronts([whole, part, other], "int8")
    assert found == {"whole": ("macs", "params"), "part": ("macs",), "other": ()}
