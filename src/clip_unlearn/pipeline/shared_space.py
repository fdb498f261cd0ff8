"""Whether two models' features mean the same, so that one's text can be asked of the other."""

from __future__ import annotations

import torch

from clip_unlearn.audit.rules import SHARED_SPACE
from clip_unlearn.evaluation.data import EvaluationData
from clip_unlearn.evaluation.pixels import encode_rows
from clip_unlearn.models.clip import ClipModel
from clip_unlearn.models.zero_shot import ZeroShotClassifier, accuracy, build_classifier


def lives_in(model: ClipModel, data: EvaluationData, text: ZeroShotClassifier) -> bool | None:
    """Whether an original's text means anything to a model from elsewhere.

    It does if pictures of the other classes keep half of the accuracy with it that they have with
    the model's own text; an audit asks the same. Not known where there are no such pictures.

    Args:
        model: from elsewhere.
        data: pictures of the task, with the model's preprocessing.
        text: the original's classifier over all classes of the task.
    """
    gone = {*data.left_out, *model.provenance.forgotten}
    names = [name for name in data.task.classnames_for(data.forget_classes) if name not in gone]
    asked = [(row, n) for n, name in enumerate(names) for row in data.test_rows.get(name, ())]
    if not asked:
        return None
    own = build_classifier(model, names, data.task.templates)
    if own.class_embeddings.shape[1] != text.class_embeddings.shape[1]:
        return False
    labels = torch.tensor([label for _, label in asked])
    features = encode_rows(model, data.images, [row for row, _ in asked])
    kept = accuracy(features, labels, text.subset(names))
    return kept >= SHARED_SPACE * accuracy(features, labels, own)
