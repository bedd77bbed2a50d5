"""What a study says, by hand-computed numbers; and that votes of other people cannot do harm."""

from pathlib import Path

import pytest

from core.errors import BadInput
from experiments.study.result import study_result
from experiments.study.votes import Key, KeyPair, Vote, find_key, read_key, read_votes

HEAD = "study,annotator,pair,prompt,preference,relevance_left,relevance_right\n"


def key(count: int = 4) -> Key:
    """The best instruction is left in odd pairs; scorer `up` agrees with it everywhere, `down` nowhere."""
    pairs = {}
    for number in range(1, count + 1):
        sides = ("r1c0", "naive") if number % 2 else ("naive", "r1c0")
        scores = {"up": {"r1c0": 0.3, "naive": 0.2}, "down": {"r1c0": 0.2, "naive": 0.3}}
        pairs[f"p{number:03d}"] = KeyPair(prompt_id=f"q{number}", left=sides[0], right=sides[1], scores=scores)
    return Key(format="brushup-study-key/1", study="s1", run="one", best="r1c0", rival="naive", pairs=pairs)


def votes(pair: str, *preferences: str, left: int | None = None, right: int | None = None) -> list[Vote]:
    return [Vote(f"a{k}", pair, preference, left, right) for k, preference in enumerate(preferences)]


def test_the_median_of_the_annotators_decides_and_sides_are_unblinded() -> None:
    given = [
        *votes("p001", "left", "left", "right"),  # best is left: won
        *votes("p002", "left", "left", "tie"),  # best is right: lost
        *votes("p003", "left", "tie"),  # half a win: a tie
        *votes("p004", "right", "left"),  # split: a tie
    ]
    found = study_result(key(), given)
    shares = {name: estimate.mean for name, estimate in found.preference.items() if estimate}
    assert shares == {"win": 0.25, "tie": 0.5, "loss": 0.25, "win_or_tie": 0.75, "win_minus_loss": 0.0}
    assert found.annotators == 3
    assert (found.pairs, found.unrated, found.votes) == (4, 0, 10)
    assert found.annotator_agreement is not None
    assert found.annotator_agreement.mean == pytest.approx((1 / 3 + 1 / 3 + 0 + 0) / 4)


def test_scorers_are_held_against_the_pairs_that_are_no_tie() -> None:
    given = [*votes("p001", "left"), *votes("p002", "left"), *votes("p003", "tie"), *votes("p004", "right")]
    found = study_result(key(), given)
    up, down = (found.scorer_agreement[name] for name in ("up", "down"))
    assert up is not None
    assert down is not None
    assert (up.mean, up.n) == (pytest.approx(2 / 3), 3)
    assert down.mean == pytest.approx(1 / 3)
    assert found.annotator_agreement is None, "one annotator agrees with nobody"


def test_relevance_is_the_median_per_picture() -> None:
    given = [
        Vote("a", "p001", None, 2, 0),
        Vote("b", "p001", None, 1, 0),
        Vote("c", "p001", None, 2, 1),
        Vote("a", "p002", None, 0, 2),
        Vote("a", "p003", "left", 1, None),
    ]
    found = study_result(key(), given)
    relevance = found.relevance
    assert relevance["best"] is not None
    assert relevance["rival"] is not None
    assert relevance["best_minus_rival"] is not None
    assert relevance["best"].mean == pytest.approx((2 + 2 + 1) / 3)
    assert relevance["rival"].mean == 0
    assert (relevance["best_minus_rival"].mean, relevance["best_minus_rival"].n) == (2.0, 2)
    assert found.preference["win"] is not None
    assert found.preference["win"].n == 1
    assert found.to_json()["relevance"]["rival"] == {"mean": 0.0, "ci95": [0.0, 0.0], "n": 2}


def write(tmp: Path, *rows: str, name: str = "votes.csv", head: str = HEAD) -> Path:
    path = tmp / name
    path.write_text(head + "".join(f"{row}\n" for row in rows), encoding="utf-8-sig")
    return path


def test_votes_are_read_as_spreadsheets_write_them(tmp_path: Path) -> None:
    first = write(tmp_path, 's1,AB,p001,"a, cat",LEFT,2,0', "s1,AB,p002,,,,", "s1,AB,p003,,tie,,1")
    second = write(tmp_path, "s1,,p001,,right,,", "s1,AB,p001,,tie,1,1", name="carla.csv")
    assert read_votes([first, second], key()) == [
        Vote("AB", "p001", "tie", 1, 1),
        Vote("AB", "p003", "tie", None, 1),
        Vote("carla", "p001", "right", None, None),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("s1,a,p001,,better,,", "row 2: preference is 'better'; expected left, right, tie"),
        ("s1,a,p001,,left,3,", "row 2: relevance is '3'; expected 0, 1, 2"),
        ("s1,a,p999,,left,,", "row 2: pair is 'p999'"),
        ("other,a,p001,,left,,", "study is 'other', the key is of 's1'"),
        ("s1,a,p001,,,,", "got no answer"),
    ],
)
def test_wrong_votes_are_refused_in_one_line(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        read_votes([write(tmp_path, row)], key())
    assert "\n" not in str(caught.value)


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="lacks the columns study"):
        read_votes([write(tmp_path, head="a,b\n1,2\n")], key())
    with pytest.raises(BadInput, match="cannot read votes"):
        read_votes([tmp_path / "none.csv"], key())
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_votes([tmp_path / "picture.csv"], key())
    for text in ("[]", "{", '{"format": "brushup-instructions/1"}'):
        (tmp_path / "one.key.json").write_text(text)
        with pytest.raises(BadInput, match="is not the key of a study"):
            read_key(tmp_path / "one.key.json")


def test_the_key_is_found_in_the_run_of_the_study(tmp_path: Path) -> None:
    mine = key().model_copy(update={"study": "0123456789ab"})
    votes_file = write(tmp_path, "0123456789ab,a,p001,,left,,")
    with pytest.raises(BadInput, match=r"no run in .* has the key of study '0123456789ab'.*--key"):
        find_key(tmp_path / "runs", votes_file)
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "study-0123456789ab.key.json").write_text(mine.model_dump_json())
    assert read_key(find_key(tmp_path / "runs", votes_file)) == mine
    with pytest.raises(BadInput, match="has the key of study"):
        find_key(tmp_path / "runs", write(tmp_path, "../one/*,a,p001,,left,,", name="evil.csv"))
