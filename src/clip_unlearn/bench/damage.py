"""Which other classes lose more than they should by chance, counted from the answers of cells.

A picture counts once, however many seeds answered: as most of them did. What it was taken for is
asked in the classifier over all classes. The test is McNemar's, exact and one-sided: of the
pictures whose answer changed, as many should turn right as wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import comb

from clip_unlearn.bench.pooling import Answered
from clip_unlearn.bench.tables import Cell, Table

LEVEL = 0.05
NOTE = (
    "McNemar's test, exact and one-sided, on pictures whose answer among all classes changed, each "
    "counted once whatever the seeds, with Holm's correction over classes: it finds a class whose "
    "answers turn wrong more often than right, but of a few pictures it can't (one alone gives "
    "1/2, three give 1/8), so that the largest losses are named as well, and pooled it asks the "
    "same pictures anew for each forgotten class, so that it tells of these pictures, of which one "
    "that was right by a hair can only fall, and not of others of the class."
)
_MOST = 5  # classes that are named though chance may be all there is to their loss
_Turn = tuple[bool, bool]  # a picture: right before, right after


@dataclass(frozen=True)
class Loss:
    """The answers to one class's pictures, before and after another class was forgotten.

    Attributes:
        name: of the class.
        before: how many were right.
        after: how many are.
        answers: how many there are.
        p_value: the chance of so many more that turn wrong than right, if either is as likely.
        corrected: the same by Holm, over all classes that were tested with it.
    """

    name: str
    before: int
    after: int
    answers: int
    p_value: float
    corrected: float

    @property
    def words(self) -> str:
        """Counts for a reader."""
        return f"{self.before} -> {self.after} of {self.answers}"


def damage_tables(label: str, cells: Sequence[Answered]) -> list[Table]:
    """What one entrant's requests cost other classes: each request alone, and all together.

    Args:
        label: of the entrant.
        cells: of it on one model, any seeds.
    """
    turns = _by_request(cells)
    alone = {forgotten: losses(own) for forgotten, own in turns.items()}
    together = losses(_together(turns))
    return [_alone_table(label, alone), _together_table(label, together, len(turns))]


def losses(turns: Mapping[str, Sequence[_Turn]]) -> list[Loss]:
    """Every class's loss, the surest first, then the largest.

    Args:
        turns: of each class's pictures.
    """
    p_values = {name: fell_by_chance(own) for name, own in turns.items()}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    found = [
        Loss(
            name,
            sum(before for before, _ in own),
            sum(after for _, after in own),
            len(own),
            p_values[name],
            corrected[name],
        )
        for name, own in turns.items()
    ]
    return sorted(found, key=lambda one: (one.corrected, *_largest(one)))


def fell_by_chance(turns: Sequence[_Turn]) -> float:
    """McNemar's exact one-sided p-value; 1 where no answer changed."""
    fell = sum(before and not after for before, after in turns)
    changed = sum(before != after for before, after in turns)
    ways: int = sum(comb(changed, n) for n in range(fell, changed + 1))
    return ways / (1 << changed)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given."""
    corrected, worst = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, p_values[place] * (len(order) - rank)))
        corrected[place] = worst
    return corrected


def _by_request(cells: Sequence[Answered]) -> dict[str, dict[str, list[_Turn]]]:
    """The pictures of all other classes, for each class that was forgotten."""

    def forgotten(cell: Answered) -> str:
        return str(cell.row["forget_class"])

    return {
        name: _turns(list(own)) for name, own in groupby(sorted(cells, key=forgotten), forgotten)
    }


def _turns(seeds: Sequence[Answered]) -> dict[str, list[_Turn]]:
    """The pictures by class; where as many seeds answer otherwise as not, nothing changed."""
    turned: Counter[str] = Counter()
    before = [a for a in seeds[0].before.answers if a.question == "all_classes"]
    for cell in seeds:
        right = {a.key: a.right for a in cell.after if a.question == "all_classes"}
        turned.update(a.key for a in before if right[a.key] != a.right)
    row = seeds[0].row
    own = {row["forget_class"], *row["left_out"]}
    found: dict[str, list[_Turn]] = {}
    for answer in before:
        if answer.label not in own:
            turn = answer.right, answer.right != (turned[answer.key] * 2 > len(seeds))
            found.setdefault(answer.label, []).append(turn)
    return found


def _together(turns: Mapping[str, Mapping[str, Sequence[_Turn]]]) -> dict[str, list[_Turn]]:
    found: dict[str, list[_Turn]] = {}
    for own in turns.values():
        for name, pictures in own.items():
            found.setdefault(name, []).extend(pictures)
    return found


def _alone_table(label: str, alone: Mapping[str, Sequence[Loss]]) -> Table:
    rows = []
    for forgotten, every in alone.items():
        lost = sum(one.after < one.before for one in every)
        gained = sum(one.after > one.before for one in every)
        named = "; ".join(f"{one.name} {one.words}" for one in _lost(every))
        sure = ", ".join(one.name for one in _sure(every))
        texts = (forgotten, f"{lost}, {gained}", sure or "none", named or "none")
        rows.append(tuple(map(Cell, texts)))
    header = ("forgotten", "classes that lose, that gain", f"p < {LEVEL}", "largest losses")
    number = sum(len(_sure(every)) for every in alone.values())
    title = f"{label}: classes that lose by one request, {number} of them beyond chance"
    return Table(title, header, tuple(rows))


def _together_table(label: str, together: Sequence[Loss], requests: int) -> Table:
    sure = _sure(together)
    shown = sure if len(sure) >= _MOST else list(together[:_MOST])
    rows = [
        tuple(map(Cell, (one.name, one.words, f"{one.p_value:.2g}", f"{one.corrected:.2g}")))
        for one in shown
        if one.after < one.before
    ]
    header = ("class", "right answers", "p", "p by Holm")
    title = (
        f"{label}: classes that lose by {requests} requests together, "
        f"{len(sure)} of {len(together)} beyond chance"
    )
    return Table(title, header, tuple(rows))


def _sure(every: Sequence[Loss]) -> list[Loss]:
    return [one for one in every if one.corrected < LEVEL]


def _lost(every: Sequence[Loss]) -> list[Loss]:
    """The largest losses, no more than a reader reads."""
    return sorted((one for one in every if one.after < one.before), key=_largest)[:_MOST]


def _largest(one: Loss) -> tuple[int, int, str]:
    """What the largest loss is the first by: pictures, then the fewest that are left, then name."""
    return one.after - one.before, one.after, one.name
