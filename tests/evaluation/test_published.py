from __future__ import annotations

from clip_unlearn.data.published.protocol import ACCURACY_BEFORE
from clip_unlearn.evaluation.figures import Answer, Question
from clip_unlearn.evaluation.published import beside_published


def answer(key: str, label: str, predicted: str, question: Question = "within_group") -> Answer:
    return Answer(question, key, label, predicted, int(label != predicted))


ANSWERS = [
    answer("Caltech101/a", "platypus", "platypus"),
    answer("Caltech101/b", "platypus", "minaret"),
    answer("Caltech101/c", "face", "face"),
    answer("Caltech101/d", "face", "face"),
    answer("StanfordDogs/a", "pug", "boxer"),
    answer("Caltech101/a", "platypus", "face", "all_classes"),
    answer("Caltech101/a", "platypus", "face", "prototype"),
]


def test_classes_and_data_sets_are_counted_from_answers_within_the_data_set() -> None:
    rows = {row.name: row for row in beside_published("RN50", ANSWERS)}
    assert rows.keys() == ACCURACY_BEFORE["RN50"].keys()
    assert (rows["platypus"].measured, rows["platypus"].count) == (0.5, 2)
    assert (rows["Caltech101"].measured, rows["Caltech101"].count) == (0.75, 4)
    assert (rows["StanfordDogs"].measured, rows["StanfordDogs"].count) == (0.0, 1)
    assert (rows["minaret"].measured, rows["minaret"].count) == (None, 0)
    assert rows["platypus"].published == 0.9


def test_a_model_that_the_paper_does_not_have_is_not_compared() -> None:
    assert beside_published("emoji-vit", ANSWERS) == []
