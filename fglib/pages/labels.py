"""How tables and figures name and colour methods, variants and metrics.

A method's own label and colour are attributes of its class; here are those of the experiments' other variants.
"""

from fglib.methods import METHODS

# Okabe and Ito 2008; black and yellow are kept for text and highlights
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F")
COLOURS = {name: method.colour for name, method in METHODS.items() if method.colour} | {
    "baseline_fine": "#003B5C",
    "grafit_fine": "#7A3600",
    "scratch": "#7F7F7F",
    "bap_no_center": "#8C6D31",
    "bilinear": "#E69F00",
    "random_init": "#CC79A7",
    "overlap_l1": "#7F7F7F",
    "overlap_l2": "#B0B0B0",
    "gce_half": "#8C6D31",
    "db_gce_half": "#7A3600",
}
LABELS = {name: method.label or name for name, method in METHODS.items()} | {
    "baseline_fine": "baseline, fine labels",
    "grafit_fine": "Grafit, fine labels",
    "scratch": "from scratch",
    "bap_no_center": "attention pooling, no center loss",
    "bilinear": "Coarse2Fine, bilinear",
    "random_init": "Coarse2Fine, random start",
    "overlap_l1": "Coarse2Fine, L1 penalty",
    "overlap_l2": "Coarse2Fine, L2 penalty",
    "learned": "learned up-sampler",
    "gce_half": "GCE from half-way",
    "db_gce_half": "DB + GCE from half-way",
    "alpha_0": "DB, α = 0",
    "alpha_02": "DB, α = 0.2",
    "peak_0": "DB, no peaks",
    "peak_1": "DB, all peaks",
    "patch_0": "DB, no patches",
    "patch_08": "DB, p_patch = 0.8",
    "side_1": "DB, G = 1",
    "side_6": "DB, G = 6",
    **{f"k_{k}": f"GCE, k = {k}" for k in (1, 3, 5, 30, 50, 60, 100, 120)},
    "top1_five_crops": "top-1, five crops (%)",
    "cam_coverage": "box covered by the map (%)",
    "cam_background": "background covered by the map (%)",
    "cam_inside": "map inside the box (%)",
    "cam_entropy": "entropy of the map",
    "cam_empty": "empty maps (%)",
    "sibling_errors": "errors between siblings (%)",
    "train_error": "training error (%)",
    "test_error": "test error (%)",
    "epochs_to_reach": "epochs to the plain network's last test error",
    "top1": "top-1 (%)",
    "top5": "top-5 (%)",
    "first_top1": "top-1, first head (%)",
    "second_top1": "top-1, second head (%)",
    "average_top1": "top-1, both averaged (%)",
    "localization_error": "localization error (%)",
    "box_error": "box error, any label (%)",
    "oracle_threshold_error": "box error, best threshold (%)",
    "mean_iou": "mean IoU",
    "map_overlap": "overlap of the maps",
    "empty_maps": "empty maps (%)",
    "within_variance": "variance within a class",
    "within_share": "share of variance within classes (%)",
    "part_consistency": "part consistency (%)",
    "on_object": "maps on the object (%)",
    "rmse": "RMSE, learned",
    "bilinear_rmse": "RMSE, bilinear",
    "coarse_knn": "coarse kNN top-1 (%)",
    "fine_knn": "fine kNN top-1 (%)",
    "knn_k": "k",
    "cos_map": "fine mAP, cosine (%)",
    "cond_map": "fine mAP, conditioned (%)",
    "oracle_map": "fine mAP, oracle (%)",
    "cos_r1": "fine R@1, cosine (%)",
    "cond_r1": "fine R@1, conditioned (%)",
    "oracle_r1": "fine R@1, oracle (%)",
    "conditioner_top1": "coarse top-1 of the conditioner (%)",
    "conditioner_ece": "calibration error of the conditioner (%)",
    "trunk_knn": "fine kNN top-1, trunk (%)",
    "trunk_map": "fine mAP, trunk (%)",
    "fine_silhouette": "silhouette of the fine classes",
    "fine_purity": "fine purity of 10 neighbours (%)",
    "coarse_top1": "super-class top-1 (%)",
    "coarse_top5": "super-class top-5 (%)",
    "coarse_map": "super-class mAP (%)",
    "fine_map": "fine mAP (%)",
    "attention_big": "attention on the big patch",
    "attention_small": "attention on the small patch",
    "ig_big": "Integrated Gradients, big",
    "ig_small": "Integrated Gradients, small",
    "gradcam_big": "Grad-CAM, big",
    "gradcam_small": "Grad-CAM, small",
    **{f"coarse_r{k}": f"super-class R@{k} (%)" for k in (1, 2, 4, 8)},
    **{f"fine_r{k}": f"fine R@{k} (%)" for k in (1, 2, 4, 8, 10, 100, 1000)},
}

# the same method, started from a trained network
_TUNED = ("plain", "db", "gce", "db_gce", "db_center", "db_lgm", "db_maxent", "alpha_0", "alpha_02")
LABELS |= {f"tuned_{method}": f"{LABELS[method]}, fine-tuned" for method in _TUNED}
COLOURS |= {f"tuned_{method}": COLOURS[method] for method in _TUNED if method in COLOURS}


def label(name: str) -> str:
    """Display name of a method, variant or metric."""
    return LABELS.get(name, name)


def colour(name: str) -> str:
    """Colour of a method or variant; one that has none of its own gets a fixed one of the palette."""
    return COLOURS.get(name, PALETTE[sum(name.encode()) % len(PALETTE)])
