"""What is measured on a trained method: each measure gives metrics (percent unless said) and arrays for figures.

An experiment lists the names of its measures. This is the one place that reads the fine labels of the test set,
and of the training set where it is the collection that is searched or where a theorem is measured; it runs after
training and feeds nothing back.
"""

from fglib.config import RunConfig
from fglib.errors import ConfigError, check_known
from fglib.measure import basic, coarse2fine, grafit, patterns, queries, subtle, within
from fglib.measure.subtle import classification_error
from fglib.measure.trained import Arrays, Metrics, Trained
from fglib.methods import Method, find_method

MEASURES = {
    "accuracy": basic.accuracy,
    "retrieval": basic.retrieval,
    "coarse_retrieval": basic.coarse_retrieval,
    "wide_retrieval": basic.wide_retrieval,
    "within": within.within,
    "collection": within.collection,
    "queries": queries.queries,
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
    "classification_error": subtle.final_classification_error,
}
# members that a method must have for a measure; the other measures take every method
NEEDS = {
    "recognition": ("logits",),
    "localization": ("location_maps", "logits"),
    "upsampling": ("targets",),
    "crops": ("logits",),
    "class_maps": ("class_maps",),
    "confusions": ("logits",),
    "classification_error": ("logits",),
}


def check_measures(config: RunConfig, method: type[Method] | None = None) -> None:
    """ConfigError for a measure of the configuration that does not exist or that its method cannot have.

    Called before training: what is measured comes after it.
    """
    method = method or find_method(config.method.name)
    wanted = [("measure", name) for name in config.measure]
    wanted += [("train.errors_every", "classification_error")] if config.train.errors_every else []
    for key, name in wanted:
        check_known("measure", name, MEASURES)
        for member in NEEDS.get(name, ()):
            if not hasattr(method, member):
                raise ConfigError(
                    f"{key} wants the measure '{name}', which needs `{member}`, and method '{config.method.name}' has "
                    "none; leave it out"
                )


def measure(trained: Trained) -> tuple[Metrics, Arrays]:
    """All measures of the configuration, in its order."""
    metrics: Metrics = {}
    arrays: Arrays = {}
    for name in trained.config.measure:
        new_metrics, new_arrays = MEASURES[name](trained)
        metrics |= new_metrics
        arrays |= new_arrays
    return metrics, arrays


__all__ = ["MEASURES", "Trained", "check_measures", "classification_error", "measure"]
