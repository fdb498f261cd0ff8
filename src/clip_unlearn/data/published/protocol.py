"""What arXiv 2407.07485 forgets, and what it measured before; accuracies as fractions."""

from __future__ import annotations

from collections.abc import Mapping

FORGET_CLASSES: Mapping[str, tuple[str, ...]] = {
    "StanfordDogs": ("Pekinese", "toy poodle", "Scotch terrier"),
    "StanfordCars": (
        "2009 Spyker C8 Coupe",
        "2010 Dodge Ram Pickup 3500 Crew Cab",
        "2011 Ford Ranger SuperCab",
    ),
    "Caltech101": ("euphonium", "minaret", "platypus"),
    "OxfordFlowers": ("gazania", "tree mallow", "trumpet creeper"),
}
ACCURACY_BEFORE: Mapping[str, Mapping[str, float]] = {  # OpenAI's weights; classes, then data sets
    "RN50": {
        "Pekinese": 0.705,
        "toy poodle": 0.574,
        "Scotch terrier": 0.500,
        "2009 Spyker C8 Coupe": 0.262,
        "2010 Dodge Ram Pickup 3500 Crew Cab": 0.405,
        "2011 Ford Ranger SuperCab": 0.524,
        "euphonium": 0.789,
        "minaret": 0.826,
        "platypus": 0.900,
        "gazania": 0.957,
        "tree mallow": 1.000,
        "trumpet creeper": 0.588,
        "StanfordDogs": 0.517,
        "StanfordCars": 0.558,
        "Caltech101": 0.857,
        "OxfordFlowers": 0.661,
    },
    "ViT-B-16": {
        "Pekinese": 0.787,
        "toy poodle": 0.607,
        "Scotch terrier": 0.625,
        "2009 Spyker C8 Coupe": 0.429,
        "2010 Dodge Ram Pickup 3500 Crew Cab": 0.548,
        "2011 Ford Ranger SuperCab": 0.810,
        "euphonium": 1.000,
        "minaret": 0.913,
        "platypus": 1.000,
        "gazania": 1.000,
        "tree mallow": 0.765,
        "trumpet creeper": 0.588,
        "StanfordDogs": 0.591,
        "StanfordCars": 0.655,
        "Caltech101": 0.933,
        "OxfordFlowers": 0.708,
    },
}


def published_accuracy(model: str) -> Mapping[str, float]:
    """Accuracy before anything is forgotten, by class and data set; empty for other models.

    Args:
        model: an architecture as a user names it: `RN50`, `ViT-B/16`, `ViT-B-16-quickgelu`.
    """
    return ACCURACY_BEFORE.get(model.replace("/", "-").removesuffix("-quickgelu"), {})
