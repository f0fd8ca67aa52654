import random
from collections import Counter

import conv_tflite
import pytest
import tiny_tflite
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import EdgepruneError
from edgeprune.tflite.flatbuffer import operators, pack_model, unpack_model
from edgeprune.tflite.integrity import check_file
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata


def test_files_that_are_none(tmp_path) -> None:
    path = tmp_path / "x.tflite"
    with pytest.raises(EdgepruneError, match=r"cannot be read \(No such file"):
        check_file(path)
    with pytest.raises(EdgepruneError, match="cannot be read"):
        check_file(tmp_path)
    for content, says in [
        (b"", "is empty"),
        (b"TFL", "is not a TFLite file"),
        (b"PK\3\4 a zip file, not a network", "is not a TFLite file"),
        (b"\x1c\0\0\0TFL3", "cut off or damaged"),
        (b"\xff\xff\xff\xffTFL3" + bytes(64), "cut off or damaged"),
    ]:
        path.write_bytes(content)
        with pytest.raises(EdgepruneError, match=says):
            check_file(path)
        with pytest.raises(EdgepruneError, match=says):
            TFLiteModel(path)


def _refused_when_cut(content: bytes, length: int, path) -> None:
    path.write_bytes(content[:length])
    with pytest.raises(EdgepruneError):
        check_file(path)


def test_every_prefix_of_a_tiny_file_is_refused(tmp_path) -> None:
    path = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "tiny.tflite")
    check_file(path)
    content = path.read_bytes()
    end = len(content.rstrip(b"\0"))  # what lies behind may be padding
    for length in range(end):
        _refused_when_cut(content, length, tmp_path / "cut.tflite")


def _cuts(content: bytes) -> list[int]:
    """Lengths of all classes: nothing, the header, the tables at both ends, the weights between."""
    size = len(content)
    generator = random.Random(size)
    around = [0, 1, 4, 7, 8, 9, 64, 1000, size // 4, size // 2, size - 4096, size - 1000, size - 100, size - 20]
    return [cut for cut in [*around, *(generator.randrange(size - 20) for _ in range(40))] if 0 <= cut <= size - 20]


def test_cut_off_exports_are_refused(networks, tmp_path) -> None:
    for network in networks.values():
        for path in network.files.values():
            check_file(path)
            content = path.read_bytes()
            for length in _cuts(content):
                _refused_when_cut(content, length, tmp_path / "cut.tflite")


def test_cut_off_files_of_others_are_refused(shared_data, tmp_path) -> None:
    paths = sorted((shared_data / "models").rglob("*.tflite"))
    assert len(paths) >= 7
    for path in paths:
        check_file(path)
        content = path.read_bytes()
        for length in _cuts(content):
            _refused_when_cut(content, length, tmp_path / "cut.tflite")


READERS = (check_file, operators, unpack_model, read_metadata)


def test_damage_is_survived_by_our_readers(dcase21, tmp_path) -> None:
    whole = dcase21.files["int8"].read_bytes()
    size, path = len(whole), tmp_path / "damaged.tflite"
    places = st.one_of(st.integers(0, 4000), st.integers(size - 8000, size - 1), st.integers(0, size - 1))
    outcomes: Counter[tuple[str, str]] = Counter()

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8))
    def damage(changes: list[tuple[int, int]]) -> None:
        content = bytearray(whole)
        for place, value in changes:
            content[place] = value
        path.write_bytes(content)
        for read in READERS:
            try:  # any other exception than EdgepruneError fails the test
                read(path)
                outcomes[read.__name__, "accepted"] += 1
            except EdgepruneError:
                outcomes[read.__name__, "refused"] += 1

    damage()
    for read in READERS:
        assert outcomes[read.__name__, "accepted"] >= 5, outcomes
        assert outcomes[read.__name__, "refused"] >= 5, outcomes


@pytest.mark.parametrize("field", ["inputs", "outputs"])
def test_an_operator_without_its_first_tensor_is_refused(field, tmp_path) -> None:
    """The interpreter crashes on one now and then, depending on what lies in memory beside the tensors."""
    path = conv_tflite.conv_network(tmp_path / "net.tflite")
    check_file(path)
    for number in range(len(unpack_model(path).subgraphs[0].operators)):
        model = unpack_model(conv_tflite.conv_network(path))
        operator = model.subgraphs[0].operators[number]
        setattr(operator, field, [-1, *getattr(operator, field)[1:]])
        path.write_bytes(pack_model(model))
        with pytest.raises(EdgepruneError, match="is cut off or damaged"):
            check_file(path)
