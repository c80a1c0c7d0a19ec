"""How many images are localized wrongly (Coarse2Fine, "Object Localization Results")."""

import torch
from torch import Tensor

from fglib.boxes import box_iou, check_boxes
from fglib.checks import misfit, shape


def localization_error(pred_boxes: Tensor, true_boxes: Tensor, label_correct: Tensor) -> float:
    """Percentage of images that are localized wrongly: right are an IoU above 0.5, strictly, and the right label.

    pred_boxes, true_boxes: (n, 4); label_correct: (n,) bool. ValueError for shapes that do not fit, for no image at
    all, and for boxes that are empty, reversed or not finite. A box outside its image is noticed only by `check_boxes`,
    which takes the size of the image.
    """
    check_boxes("pred_boxes", pred_boxes)
    check_boxes("true_boxes", true_boxes)
    if true_boxes.shape != pred_boxes.shape:
        raise ValueError(
            f"true_boxes has shape {shape(true_boxes)}, pred_boxes {shape(pred_boxes)}: one box per image in both"
        )
    if label_correct.shape != pred_boxes.shape[:1] or label_correct.dtype != torch.bool:
        raise misfit("label_correct", label_correct, "(n,) bool", pred_boxes=pred_boxes)
    right = (box_iou(pred_boxes.cpu(), true_boxes.cpu()) > 0.5) & label_correct.cpu()
    return 100 * int((~right).sum()) / len(right)
