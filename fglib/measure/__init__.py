"""What is measured on a trained method: each measure gives metrics (percent unless said) and arrays for figures.

An experiment lists the names of its measures. This is the one place that reads the fine labels of the test set,
and of the training set where it is the collection that is searched or where a theorem is measured; it runs after
training and feeds nothing back.
"""

from fglib.errors import unknown
from fglib.measure import basic, coarse2fine, grafit, patterns, subtle, within
from fglib.measure.subtle import errors
from fglib.measure.trained import Arrays, Metrics, Trained

MEASURES = {
    "accuracy": basic.accuracy,
    "retrieval": basic.retrieval,
    "wide_retrieval": basic.wide_retrieval,
    "within": within.within,
    "collection": within.collection,
    "gallery": basic.gallery,
    "embedding": basic.embedding,
    "attention": patterns.attention,
    "attribution": patterns.attribution,
    "bounds": patterns.bounds,
    "knn": grafit.knn,
    "ranking": grafit.ranking,
    "trunk": grafit.trunk,
    "levels": grafit.levels,
    "separation": grafit.separation,
    "recognition": coarse2fine.recognition,
    "localization": coarse2fine.localization,
    "attention_parts": coarse2fine.attention_parts,
    "upsampling": coarse2fine.upsampling,
    "crops": subtle.crops,
    "class_maps": subtle.class_maps,
    "confusions": subtle.confusions,
    "errors": subtle.final_errors,
}


def measure(trained: Trained) -> tuple[Metrics, Arrays]:
    """All measures of the configuration, in its order."""
    metrics: Metrics = {}
    arrays: Arrays = {}
    for name in trained.config.measure:
        if name not in MEASURES:
            raise unknown("measure", name, MEASURES)
        new_metrics, new_arrays = MEASURES[name](trained)
        metrics |= new_metrics
        arrays |= new_arrays
    return metrics, arrays


__all__ = ["MEASURES", "Trained", "errors", "measure"]
