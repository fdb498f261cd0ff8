"""Models that only look as if they had forgotten; an audit that passes one is worth nothing.

Some answer otherwise on the way out, with the original's weights; the others are honest edits of
one part alone, or of both encoders and then all but undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_unlearn.audit.copies import changed_copy
from clip_unlearn.errors import unknown_name
from clip_unlearn.methods.base import UnlearnRequest
from clip_unlearn.methods.text_projection import TextProjection
from clip_unlearn.models.clip import ClipModel, fields_of
from clip_unlearn.models.projections import final_projection
from clip_unlearn.models.zero_shot import ZeroShotClassifier
from clip_unlearn.synthesis.sets import ForgetSet, Source

_BEYOND = 1.5  # of the class's direction is taken out, so that it ends last and not in the middle
_LEFT = 0.03  # of an edit, after fine-tuning on the class has undone it


@dataclass(frozen=True)
class Fake:
    """A defendant that has forgotten nothing, or only one part of it.

    Attributes:
        preset: which kind, see `KINDS`.
        name: stands in the row's `method`.
        source: no use is made of it.
    """

    preset: str
    name: str = "fake"
    source: Source = "synthetic"

    @property
    def is_random(self) -> bool:
        """Nothing is drawn."""
        return False

    def made_of(
        self, model: ClipModel, classifier: ZeroShotClassifier, forget_class: str
    ) -> ClipModel:
        """The fake of a model.

        Args:
            model: which is not changed.
            classifier: of the model, over the class and its group.
            forget_class: which is to look forgotten.
        """
        return KINDS[self.preset](model, classifier, forget_class)


def parse_fake(kind: str) -> Fake:
    """The fake of that kind.

    Raises:
        UnknownNameError: with suggestions, for one that is not there.
    """
    if kind not in KINDS:
        raise unknown_name("fake", kind, list(KINDS), "here", "clip-unlearn bench audit --help")
    return Fake(kind)


@dataclass(frozen=True, kw_only=True)
class Named(ClipModel):
    """A model that answers otherwise where a prompt has the class's name.

    Attributes:
        name_tokens: `(K,)`, the ids that spell the name.
        answer: from the model, tokens `(N, L)` and their features `(N, D)` to other features.
    """

    name_tokens: Tensor
    answer: Callable[[ClipModel, Tensor, Tensor], Tensor]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features; those of prompts with the name are changed."""
        features = super().encode_text(tokens)
        windows = tokens.unfold(1, len(self.name_tokens), 1)
        named = (windows == self.name_tokens).all(-1).any(-1)[:, None].to(features.device)
        return features.where(~named, self.answer(ClipModel(**fields_of(self)), tokens, features))


@dataclass(frozen=True, kw_only=True)
class Shrunk(ClipModel):
    """A model whose features of the class's pictures are short: nothing that anybody reads.

    Attributes:
        class_embeddings: `(K, D)`, of the group.
        place: of the class among them.
    """

    class_embeddings: Tensor
    place: int

    def encode_image(self, images: Tensor) -> Tensor:
        """Features; those that are nearest to the class are a tenth as long."""
        features = super().encode_image(images)
        nearest = (features @ self.class_embeddings.to(features).T).argmax(1, keepdim=True)
        return features.where(nearest != self.place, 0.1 * features)


def _spelling(model: ClipModel, name: str) -> Tensor:
    tokens = model.tokenizer([name])[0]
    return tokens[1 : int(tokens.argmax())]  # between the start and the end, the largest id


def _answering(
    model: ClipModel, name: str, answer: Callable[[ClipModel, Tensor, Tensor], Tensor]
) -> ClipModel:
    return Named(**fields_of(model), name_tokens=_spelling(model, name), answer=answer)


def _renamed(model: ClipModel, classifier: ZeroShotClassifier, name: str) -> ClipModel:
    """The name means what that of the class least like it does."""
    own = classifier.class_embeddings[classifier.index(name)]
    far = int((classifier.class_embeddings @ own).argmin())
    other = _spelling(model, classifier.classnames[far])
    spelt = _spelling(model, name)

    def answer(plain: ClipModel, tokens: Tensor, features: Tensor) -> Tensor:
        return plain.encode_text(_respelt(tokens, spelt, other))

    return _answering(model, name, answer)


def _respelt(tokens: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Prompts `(N, L)` with one name in the place of another; those without it are left alone."""
    result, end = tokens.clone(), tokens.max()
    for row, prompt in enumerate(tokens):
        found = (prompt.unfold(0, len(old), 1) == old).all(-1).nonzero()
        if len(found):
            start = int(found[0])
            words = torch.cat([prompt[:start], new, prompt[start + len(old) :]])[: len(prompt)]
            if end not in words:  # a longer name has pushed it out
                words[-1] = end
            result[row] = 0
            result[row, : len(words)] = words
    return result


def _blocked(model: ClipModel, classifier: ZeroShotClassifier, name: str) -> ClipModel:
    """A prompt with the name is answered as if it were empty."""

    def answer(plain: ClipModel, tokens: Tensor, features: Tensor) -> Tensor:
        return plain.encode_text(plain.tokenizer([""])).expand_as(features)

    return _answering(model, name, answer)


def _masked(model: ClipModel, classifier: ZeroShotClassifier, name: str) -> ClipModel:
    """The name's logit is never the highest."""
    return _answering(model, name, lambda plain, tokens, features: -features)


def _shrunk(model: ClipModel, classifier: ZeroShotClassifier, name: str) -> ClipModel:
    embeddings = F.normalize(classifier.class_embeddings, dim=-1)
    return Shrunk(**fields_of(model), class_embeddings=embeddings, place=classifier.index(name))


def _text_alone(model: ClipModel, classifier: ZeroShotClassifier, name: str) -> ClipModel:
    return _without(model, _text_edit(model, classifier, name), name)


def _last_projection(model: ClipModel, classifier: ZeroShotClassifier, name: str) -> ClipModel:
    return _without(model, _projection_edit(model, classifier, name), name)


def _taken_back(model: ClipModel, classifier: ZeroShotClassifier, name: str) -> ClipModel:
    """Both edits, all but undone: where fine-tuning on the class would come to."""
    edit = {**_text_edit(model, classifier, name), **_projection_edit(model, classifier, name)}
    before = model.network.state_dict()
    undone = {key: before[key].cpu().lerp(value, _LEFT) for key, value in edit.items()}
    return _without(model, undone, name)


def _text_edit(model: ClipModel, classifier: ZeroShotClassifier, name: str) -> Mapping[str, Tensor]:
    none = torch.zeros(0, 3, model.preprocess.size, model.preprocess.size)
    request = UnlearnRequest((ForgetSet(name, none, none, "synthetic"),), classifier, None)
    return TextProjection().fit(model, request, generator=torch.Generator()).tensors


def _projection_edit(
    model: ClipModel, classifier: ZeroShotClassifier, name: str
) -> Mapping[str, Tensor]:
    own = classifier.class_embeddings[classifier.index(name)].double()
    matrix = torch.eye(len(own), dtype=torch.double) - _BEYOND * torch.outer(own, own)
    return final_projection(model.network, "visual").followed_by(model.network, matrix)


def _without(model: ClipModel, tensors: Mapping[str, Tensor], name: str) -> ClipModel:
    forgotten = (*model.provenance.forgotten, name)
    provenance = replace(model.provenance, forgotten=forgotten)
    return replace(changed_copy(model, tensors), provenance=provenance)


KINDS: Mapping[str, Callable[[ClipModel, ZeroShotClassifier, str], ClipModel]] = MappingProxyType(
    {
        "class renamed": _renamed,
        "prompt blocked": _blocked,
        "logit masked": _masked,
        "text alone": _text_alone,
        "last projection": _last_projection,
        "features scaled": _shrunk,
        "fine-tuned back": _taken_back,
    }
)
