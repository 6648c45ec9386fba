import pytest
from musher.config import TrainingConfig
from musher.quality import best_validated, quality_gate, worst_class
from musher.record import Evaluation

CONFIG = TrainingConfig(accuracy_floor=0.6, worst_class_floor=0.2, max_regression=0.02)


def evaluation(accuracy, per_class=(0.9, 0.8), images=50, classes=("a", "b"), loss=0.5):
    return {
        "accuracy": accuracy,
        "loss": loss,
        "images": images,
        "classes": list(classes),
        "per_class": [
            {"label": label, "images": 25, "accuracy": value} for label, value in zip(classes, per_class, strict=True)
        ],
    }


def test_the_first_good_model_is_accepted():
    decision = quality_gate(evaluation(0.85), None, CONFIG)

    assert decision["accepted"] is True
    assert decision["reason"] == "Accepted: accuracy 0.85, worst class b 0.8. Nothing is in service to compare it with."
    assert [check["passed"] for check in decision["checks"]] == [True, True]


@pytest.mark.parametrize(
    ("candidate", "in_service", "accepted"),
    [
        (evaluation(0.6), None, True),  # exactly at the floor
        (evaluation(0.599), None, False),
        (evaluation(0.9, per_class=(1.0, 0.2)), None, True),
        (evaluation(0.9, per_class=(1.0, 0.19)), None, False),
        (evaluation(0.88), evaluation(0.90), True),  # exactly as much worse as it may be
        (evaluation(0.8799), evaluation(0.90), False),
        (evaluation(0.95), evaluation(0.90), True),
        (evaluation(float("nan")), None, False),
    ],
)
def test_a_candidate_has_to_reach_the_floors_and_nearly_the_model_in_service(candidate, in_service, accepted):
    assert quality_gate(candidate, in_service, CONFIG)["accepted"] is accepted


def test_the_reason_names_everything_that_failed():
    reason = quality_gate(evaluation(0.5, per_class=(0.9, 0.1)), evaluation(0.9), CONFIG)["reason"]

    assert reason.startswith("Rejected: accuracy is 0.5 and has to be at least 0.6; ")
    assert "the worst class, b is 0.1 and has to be at least 0.2" in reason
    assert "accuracy beside the model in service is 0.5 and has to be at least 0.88" in reason
    assert reason.endswith("The model in service has 0.9 on the same pictures.")


def test_a_model_in_service_with_other_classes_is_not_compared():
    decision = quality_gate(evaluation(0.7), evaluation(0.99, classes=("a", "c")), CONFIG)

    assert decision["accepted"] is True
    assert "knows other classes, so the two were not compared" in decision["reason"]


def test_different_test_sets_are_not_compared():
    with pytest.raises(ValueError, match="50 pictures and the model in service on 40"):
        quality_gate(evaluation(0.9), evaluation(0.9, images=40), CONFIG)


def test_a_class_without_test_pictures_is_not_the_worst():
    measured = evaluation(0.9)
    measured["per_class"].append({"label": "c", "images": 0, "accuracy": 0.0})

    assert worst_class(measured)["label"] == "b"
    with pytest.raises(ValueError, match="no class with test pictures"):
        worst_class({"per_class": []})


def test_of_two_the_one_with_the_lower_validation_loss_is_chosen_whatever_the_test_set_says():
    def validated(loss, accuracy):
        return Evaluation(**evaluation(accuracy), validation={"epoch": 3, "loss": loss, "accuracy": 0.8})

    assert best_validated({"one": validated(0.5, accuracy=0.9), "several": validated(0.4, accuracy=0.8)}) == "several"
    assert best_validated({"one": validated(0.4, accuracy=0.8), "several": validated(0.4, accuracy=0.9)}) == "one"


def test_a_model_in_service_that_could_not_be_measured_is_left_out_with_the_reason():
    decision = quality_gate(evaluation(0.7), {"left_out": "the model m does not exist any more"}, CONFIG)

    assert decision["accepted"] is True
    assert "The model in service was not compared: the model m does not exist any more." in decision["reason"]


def test_the_same_classes_in_another_order_are_compared():
    assert quality_gate(evaluation(0.7), evaluation(0.99, classes=("b", "a")), CONFIG)["accepted"] is False
