"""From a map to a box, and how many images are localized wrongly; the short name of `fglib.boxes` and its measure."""

from fglib.boxes import box_from_map, box_iou, boxes_from_maps, check_boxes, smoothed, tight_boxes
from fglib.measure.localization import localization_error

__all__ = [
    "box_from_map",
    "box_iou",
    "boxes_from_maps",
    "check_boxes",
    "localization_error",
    "smoothed",
    "tight_boxes",
]
