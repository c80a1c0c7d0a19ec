"""Transfer: a trunk that was trained elsewhere, under a new classifier (Grafit, Section 4.6)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fglib.errors import check_known
from fglib.methods.protocol import Batch, Method, Task, take_weights
from fglib.models import Trunk
from fglib.models.heads import mlp_classifier

CLASSIFIERS = {"fc": nn.Linear, "mlp": mlp_classifier}


class Transfer(Method):
    """Cross entropy of the training classes, over a trunk that `start` names.

    The projector of that run is dropped; without `start` the trunk is a fresh one. classifier: "fc", one linear
    layer, or "mlp", two around a batch normalization and a ReLU. freeze: a probe; the trunk's weights and statistics
    stay fixed and only the classifier learns.
    """

    label = "transfer"

    def __init__(self, trunk: Trunk, task: Task, classifier: str = "fc", freeze: bool = False) -> None:
        super().__init__(trunk)
        check_known("classifier", classifier, CLASSIFIERS)
        if task.pretrained is not None:
            take_weights(trunk, task)
        self.classifier = CLASSIFIERS[classifier](trunk.dim, task.num_coarse)
        self.frozen = freeze
        trunk.requires_grad_(not freeze)

    def train(self, mode: bool = True) -> "Transfer":
        """A frozen trunk stays in evaluation mode, so that no statistic moves."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch.merged()
        with torch.set_grad_enabled(not self.frozen):
            f = self.features(images)
        scores = self.classifier(f)
        # the share of right answers in training, in percent, is logged beside the loss
        top1 = 100 * (scores.argmax(1) == labels).float().mean()
        return {"total": F.cross_entropy(scores, labels), "top1": top1}

    def logits(self, images: Tensor) -> Tensor:
        """Scores (B, C) of the training classes."""
        return self.classifier(self.features(images))
