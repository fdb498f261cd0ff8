"""Models that an attack may change: copies, so that no other attack sees it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from clip_unlearn.audit.context import AuditContext, Suspect, index
from clip_unlearn.models.clip import ClipModel, image_features
from clip_unlearn.models.zero_shot import build_classifier


def changed_copy(model: ClipModel, tensors: Mapping[str, Tensor]) -> ClipModel:
    """A copy of a model with other values in some tensors."""
    network = copy.deepcopy(model.network)
    network.load_state_dict({**network.state_dict(), **tensors})
    return replace(model, network=network)


def encoded_again(context: AuditContext, suspect: Suspect, model: ClipModel) -> Suspect:
    """A suspect with another model, which is shown the subjects' pictures and all names again.

    Features of all other pictures stay the suspect's.
    """
    rows = [row for s in (*context.forgotten, *context.controls) for row in s.rows]
    features = suspect.features.clone()
    if rows:
        features[index(rows)] = image_features(model, context.album.images(rows))
    names, templates = suspect.classifier.classnames, suspect.classifier.templates
    classifier = build_classifier(model, names, templates)
    return replace(suspect, model=model, features=features, classifier=classifier)
