"""Recipes found by name: what there is, what begins so, and one's own."""

import re
from pathlib import Path

import pytest
from calls import call, call_json

from edgeprune.errors import EdgepruneError
from edgeprune.recipe_files import load_recipe, recipe_names


def test_every_recipe_says_its_data_network_and_time(capsys) -> None:
    rows = call_json(capsys, "recipes")
    assert [row["name"] for row in rows] == recipe_names()
    for row in rows:
        assert re.fullmatch(r"\d+ (min|h|days) on [12] cores?, (measured|estimated)", row["time"]), row
        assert row["about"]
        recipe = load_recipe(row["name"])
        assert (row["data"], row["network"].split(",")[0]) == (recipe.data.name, recipe.model.name)
    by_name = {row["name"]: row for row in rows}
    assert by_name["esc10_mobilenetv3"]["network"] == "mobilenetv3_small, width 0.5"
    assert by_name["dcase2021_task1a_dcase21"]["input"] == "10 s at 44.1 kHz"
    assert by_name["mnist_vgg16"]["input"] == "an image"


def test_the_table(capsys) -> None:
    code, out, _ = call(capsys, "recipes")
    assert code == 0
    assert re.search(r"tut2017_dcase21 .*tut2017.*dcase21.*estimated", out)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dcase2021", "these begin so: dcase2021_task1a_dcase21 ("),
        ("tut2017", "these begin so: tut2017_dcase21, tut2017_vggish ("),
        ("mobilenet", "these have it in their names: esc10_mobilenetv3 ("),
        ("quikstart", "perhaps you meant 'quickstart'"),
        ("nonsense", "`edgeprune recipes` lists them"),
    ],
)
def test_a_part_of_a_name(text, says, capsys) -> None:
    code, _, err = call(capsys, "run", text)
    assert code == 2
    assert says in err


def test_a_recipe_of_ones_own_needs_no_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = "from edgeprune.recipe import Recipe\nrecipe = Recipe(name='own')\n"
    Path("mine.py").write_text(own)
    Path("quickstart.py").write_text(own)
    assert load_recipe("mine").name == "own"
    assert load_recipe("quickstart").name == "quickstart"
    with pytest.raises(EdgepruneError, match="no such recipe"):
        load_recipe("yours")
