"""What has to be the same for a new start to go on with what an earlier one has kept."""

from backbones import Classifier
from data import Split, listing_digest
from features import Extractor
from kept_features import files_digest, weights_digest
from settings import Settings


def of_features(
    settings: Settings,
    classifier: Classifier,
    splits: dict[str, Split],
    extractor: Extractor,
    world: int,
) -> dict[str, object]:
    """What must be the same for kept features to be used; what the head is and how it is trained may change."""
    return {
        "backbone": settings.backbone,
        "weights": weights_digest(classifier.backbone),
        "image-size": classifier.image_size,
        "augment-views": settings.augment_views,
        "seed": settings.seed,
        "precision": f"{extractor.precision.reduced} on {extractor.precision.device.type}",
        "processes": world,
        "data": files_digest(splits),
    }


def of_training(settings: Settings, classifier: Classifier, splits: dict[str, Split]) -> dict[str, object]:
    """What must be the same for a checkpoint to be continued; epochs and patience may change."""
    return {
        "backbone": settings.backbone,
        "head": settings.head,
        "finetune": settings.finetune,
        "pretrained": settings.pretrained,
        "image-size": classifier.image_size,
        "batch-size": settings.batch_size,
        "lr": settings.lr,
        "seed": settings.seed,
        "augment-views": settings.augment_views,
        "data": listing_digest(splits)[:16],
    }
