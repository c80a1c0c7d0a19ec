"""Retrieval and classification by cosine.

evaluation    Recall@k and mean average precision, of a cosine ranking or of a ranking that is given
rankings      gallery rows in order: by cosine, by cosine and coarse class, with the coarse class known
knn           class probabilities from the nearest items of a labelled memory, and the choice of k
normalization a metric from coarse labels: features normalized by their covariance within the classes
counting      ranks of the relevant items alone, on the CPU
similarity    cosines and their order, which the others share
inputs        what a caller may pass
"""

from fglib.retrieval.evaluation import RetrievalReport, evaluate_ranking, evaluate_retrieval, summary
from fglib.retrieval.knn import choose_k, knn_logits, knn_probabilities
from fglib.retrieval.normalization import WithinClassNormalization
from fglib.retrieval.rankings import conditional_ranking, cosine_ranking, nearest, oracle_ranking
from fglib.retrieval.similarity import CHUNK_BYTES

__all__ = [
    "CHUNK_BYTES",
    "RetrievalReport",
    "WithinClassNormalization",
    "choose_k",
    "conditional_ranking",
    "cosine_ranking",
    "evaluate_ranking",
    "evaluate_retrieval",
    "knn_logits",
    "knn_probabilities",
    "nearest",
    "oracle_ranking",
    "summary",
]
