from __future__ import annotations

import torch

from clip_unlearn.synthesis.sets import ForgetSet, RetainSet, SynthesisReport


def numbered(count: int) -> torch.Tensor:
    """Pictures `(count, 3, 2, 2)` of which each is filled with its own number."""
    return torch.arange(float(count))[:, None, None, None].expand(count, 3, 2, 2)


def numbers(images: torch.Tensor) -> list[float]:
    return [float(value) for value in images[:, 0, 0, 0]]


def test_the_last_images_are_held_out_and_no_image_is_in_both_parts() -> None:
    report = SynthesisReport(5, 5, 100, 1.0)
    whole = ForgetSet("red", numbered(5), numbered(0), "synthetic", report)
    parts = whole.hold_out(2)
    assert numbers(parts.images) == [0, 1, 2]
    assert numbers(parts.heldout_images) == [3, 4]
    assert (parts.forget_class, parts.source, parts.report) == ("red", "synthetic", report)
    assert numbers(whole.images) == [0, 1, 2, 3, 4]
    assert numbers(whole.hold_out(0).images) == [0, 1, 2, 3, 4]


def test_a_retain_set_without_a_class_has_none_of_its_pictures_and_the_same_names_for_others() -> (
    None
):
    whole = RetainSet(
        numbered(6), torch.tensor([0, 1, 2, 3, 1, 0]), ("a", "b", "c", "d"), "real", ("mind",)
    )
    kept = whole.without({"b", "d", "unheard of"})
    assert kept.classnames == ("a", "c")
    assert numbers(kept.images) == [0, 2, 5]
    assert kept.labels.tolist() == [0, 1, 0]
    assert (kept.source, kept.warnings) == ("real", ("mind",))
    assert whole.without(set()).labels.tolist() == [0, 1, 2, 3, 1, 0]


def test_a_retain_set_without_all_its_classes_is_empty() -> None:
    none = RetainSet(numbered(2), torch.tensor([0, 1]), ("a", "b")).without({"a", "b"})
    assert none.images.shape == (0, 3, 2, 2)
    assert none.labels.tolist() == []
    assert none.labels.dtype == torch.long


def test_what_a_set_lacks_is_filled_from_another() -> None:
    real = RetainSet(numbered(2), torch.tensor([0, 0]), ("b",), "real")
    made = RetainSet(numbered(3), torch.tensor([0, 1, 1]), ("a", "b"), warnings=("made",))
    both = real.filled_from(made)
    assert both.classnames == ("b", "a")
    assert both.labels.tolist() == [0, 0, 1]
    assert torch.equal(both.images[2], made.images[0])
    assert (both.source, both.warnings) == ("both", ("made",))
    assert real.filled_from(made.without({"a"})).source == "real"


def test_one_picture_of_each_class_that_has_several_is_held_out() -> None:
    whole = RetainSet(numbered(6), torch.tensor([0, 1, 0, 2, 0, 2]), ("a", "b", "c"))
    kept, held = whole.hold_out()
    assert kept.labels.tolist() == [0, 1, 0, 2]
    assert held.labels.tolist() == [0, 2]
    assert torch.equal(held.images, whole.images[[4, 5]])
    assert torch.equal(kept.images, whole.images[[0, 1, 2, 3]])


def test_a_class_is_the_same_in_any_case() -> None:
    whole = RetainSet(numbered(3), torch.tensor([0, 1, 2]), ("Soccer Ball", "kite", "Sled"))
    assert whole.without(["soccer  ball"]).classnames == ("kite", "Sled")
    assert whole.spelt_as(["KITE", "sled", "yo-yo"]).classnames == ("Soccer Ball", "KITE", "sled")
    other = RetainSet(numbered(2), torch.tensor([0, 1]), ("KITE", "yo-yo"))
    assert whole.filled_from(other).classnames == ("Soccer Ball", "kite", "Sled", "yo-yo")
