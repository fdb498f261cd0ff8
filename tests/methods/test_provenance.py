from __future__ import annotations

import json

import pytest
import torch

from clip_unlearn.methods.base import Method, UnlearnRequest
from clip_unlearn.methods.gate import GateDistillation
from clip_unlearn.methods.lipschitz import Lipschitz
from clip_unlearn.methods.nullspace import Nullspace
from clip_unlearn.methods.provenance import data_seen, provenance_of
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.synthesis.sets import ForgetSet, RetainSet, Source


def test_provenance_is_plain_json_and_names_the_data_by_where_it_came_from() -> None:
    images = torch.zeros(1, 3, 2, 2)
    request = UnlearnRequest(
        (ForgetSet("a", images, images[:0], "real"), ForgetSet("b", images, images[:0])),
        ZeroShotClassifier(torch.eye(2), ("a", "b")),
    )
    generator = torch.Generator().manual_seed(5)
    torch.randn(3, generator=generator)  # the seed is said, wherever the generator has got to
    document = json.loads(json.dumps(provenance_of(Lipschitz(), request, [], generator)))
    assert document["data_seen"] == ["forget", "synthetic"]
    assert document["forget_classes"] == ["a", "b"]
    assert document["seed"] == 5
    assert document["settings"]["noise_stds"] == [0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    ("method", "kept", "wanted"),
    [
        (Lipschitz(), "real", ["synthetic"]),  # a retain set that it does not use
        (GateDistillation(), "real", ["retain", "synthetic"]),
        (GateDistillation(), "synthetic", ["synthetic"]),
        (Nullspace(), "real", ["none"]),
    ],
)
def test_only_pictures_that_the_method_uses_count_as_seen(
    method: Method, kept: Source, wanted: list[str]
) -> None:
    images = torch.zeros(1, 3, 2, 2)
    request = UnlearnRequest(
        (ForgetSet("a", images, images[:0]),),
        ZeroShotClassifier(torch.eye(2), ("a", "b")),
        RetainSet(images, torch.zeros(1, dtype=torch.long), ("b",), kept),
    )
    assert data_seen(method, request) == wanted
