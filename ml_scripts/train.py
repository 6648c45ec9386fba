"""Train an image classifier on folders of pictures: on SageMaker, on EC2, or by hand.

    python train.py --train D/train --valid D/valid --test D/test --pretrained-dir W --model-dir M --output-dir O
    torchrun --nproc-per-node 2 train.py ...          # several processes, the same result

Prints one line per epoch and two for the test set, in a form that SageMaker's metric definitions can read; leaves
``model.safetensors``, ``model.json`` and ``code/`` in the model folder, ``evaluation.json``, ``predictions.json`` and
``history.json`` in the output folder; evaluation.json says what the kept epoch reached on the validation set, too: that
is what models are chosen by; predictions.json what the model said of each test picture. ``diagnostics.json``, beside
them, says what the rules of ``--rules`` found, ``profile.json`` where the time went (``--profile``), also where the
training failed. See settings.py for every flag.
"""

import signal
import sys
import time

BEGAN = time.perf_counter_ns()

import vendored  # noqa: E402

vendored.add_to_path()

import artifacts  # noqa: E402
import evaluation  # noqa: E402
import features  # noqa: E402
import identity  # noqa: E402
import pretrained  # noqa: E402
import settings as settings_module  # noqa: E402
import torch  # noqa: E402
from backbones import KINDS, Classifier, settle_statistics  # noqa: E402
from checkpoints import Checkpoints, State  # noqa: E402
from data import Split, listing_digest, read_splits  # noqa: E402
from diagnostics.session import Diagnostics  # noqa: E402
from diagnostics.watch import Watch  # noqa: E402
from distributed import Group  # noqa: E402
from errors import PeerLost, Stopped, UserError, end, run  # noqa: E402
from images import Normalisation  # noqa: E402
from kept_features import KeptFeatures  # noqa: E402
from memory import out_of_memory  # noqa: E402
from pictures import Pictures, default_workers  # noqa: E402
from precision import Precision, choose, keep_freed_memory  # noqa: E402
from profiling.session import Profiler  # noqa: E402
from settings import Settings  # noqa: E402
from training import Plan, Stop, Task, predict, train  # noqa: E402

IMPORTED = time.perf_counter_ns() - BEGAN


def main(argv: list[str]) -> None:
    """Everything, in order."""
    settings = settings_module.parse(argv)
    profile = settings.chosen_profile()
    with Profiler(profile, settings.output_dir, settings.finetune, settings.batch_size, IMPORTED) as profiler:
        run_job(settings, profiler)


def run_job(settings: Settings, profiler: Profiler) -> None:
    """The job, under the profiler's eyes."""
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: setattr(stop, "requested", True))
    keep_freed_memory()
    classes, splits = read_splits(settings.train, settings.valid, settings.test)
    group = Group.join(settings.peer_timeout)
    if len(set(group.gather_objects(listing_digest(splits), "the check of the data"))) > 1:
        raise UserError("the instances were given different pictures; the channels must be FullyReplicated")
    diagnostics = Diagnostics(
        settings.chosen_rules(), group, splits, classes, settings.finetune, settings.batch_size, settings.epochs
    )
    precision = agreed_precision(settings, group)
    classifier = build(settings, len(classes), group)

    def end_stalled(sentence: str) -> None:
        diagnostics.write(settings.output_dir)
        profiler.write()
        end(sentence)

    try:
        with Watch(diagnostics, end_stalled):
            task, splits, unreadable, state = learn(
                settings, classifier, splits, precision, group, stop, diagnostics, profiler
            )
    except (RuntimeError, MemoryError) as error:
        if sentence := out_of_memory(error, plan_of(settings)):
            raise UserError(sentence) from error
        raise
    finally:
        diagnostics.write(settings.output_dir)
    logits, _ = predict(task, "test", plan_of(settings).at_once)
    profiler.finish(group)
    group.leave()
    if group.leads:
        finish(settings, classifier, classes, splits["test"], logits, unreadable, state, group.world)


def learn(
    settings: Settings,
    classifier: Classifier,
    splits: dict[str, Split],
    precision: Precision,
    group: Group,
    stop: Stop,
    diagnostics: Diagnostics,
    profiler: Profiler,
) -> tuple[Task, dict[str, Split], list[features.Unreadable], State]:
    """Look at the pictures and train; the splits without those that cannot be read, and the state at the end."""
    files = sum(map(len, splits.values()))
    profiler.prepared(precision.device.type, workers_of(settings, precision), caches(settings))
    task, splits, unreadable = prepare(settings, classifier, splits, precision, group, stop, diagnostics)
    if group.leads:
        evaluation.announce_unreadable(unreadable)
        counts = " ".join(f"{name}={len(split)}" for name, split in splits.items())
        print(f"images: {counts} unreadable={len(unreadable)}", flush=True)
    features.refuse_too_many(unreadable, files, settings.max_unreadable_share, splits, len(diagnostics.seen.classes))
    diagnostics.readable(splits)
    plan = plan_of(settings)
    checkpoints = None
    if settings.epochs_dir:
        checkpoints = Checkpoints(settings.epochs_dir, identity.of_training(settings, classifier, splits))
    report = announce_epoch if group.leads else lambda entry: None
    return task, splits, unreadable, train(task, plan, stop, checkpoints, report, diagnostics)


def plan_of(settings: Settings) -> Plan:
    """How it is to be trained."""
    return Plan(
        settings.epochs,
        settings.lr,
        settings.batch_size,
        settings.seed,
        settings.patience,
        settings.accumulation,
    )


def agreed_precision(settings: Settings, group: Group) -> Precision:
    """The precision of this machine, or float32 if the processes' machines differ."""
    precision = choose(settings.precision, settings.finetune == "all", group.local_rank)
    if len(set(group.gather_objects(str(precision.reduced), "the choice of a precision"))) > 1:
        precision = choose("float32", settings.finetune == "all", group.local_rank)
    return precision


def build(settings: Settings, classes: int, group: Group) -> Classifier:
    """The network before training: the same on every rank."""
    torch.manual_seed(settings.seed)
    classifier = Classifier(settings.backbone, settings.head, classes, settings.image_size)
    if settings.pretrained:
        weights = pretrained.load(settings.pretrained_dir, settings.backbone, KINDS[settings.backbone].classifier)
        try:
            classifier.backbone.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"the pretrained weights do not fit {settings.backbone}: {reason}") from None
    else:
        settle_statistics(classifier.backbone, classifier.image_size)
    for parameter in classifier.backbone.parameters():
        parameter.requires_grad_(settings.finetune == "all")
    return classifier


def prepare(
    settings: Settings,
    classifier: Classifier,
    splits: dict[str, Split],
    precision: Precision,
    group: Group,
    stop: Stop,
    diagnostics: Diagnostics,
) -> tuple[Task, dict[str, Split], list[features.Unreadable]]:
    """Place the network on its device, look at every picture once, and say what is to be trained on what."""
    kind = KINDS[settings.backbone]
    precision.place(classifier)
    # All ranks start from rank 0's numbers, also where two machines' arithmetic differs in the last digit.
    for tensor in (*classifier.backbone.parameters(), *classifier.backbone.buffers()):
        group.broadcast(tensor.data, "the first weights")
    normalise = diagnostics.watched(Normalisation(kind.mean, kind.std, precision.device))
    views = features.Views(classifier.image_size, settings.augment_views, settings.seed)
    if caches(settings):
        splits, cached, unreadable = extract(settings, classifier, splits, views, normalise, precision, group, stop)
        # The head computes in float32 here as it does inside the whole network.
        plain = Precision(precision.device, None)
        return Task(classifier.head, features.Cached(cached), plain, group), splits, unreadable
    splits, unreadable = features.check_pictures(splits, views, group, lambda: (stop.check(), diagnostics.moved()))
    source = Pictures(splits, views, normalise, workers_of(settings, precision), fresh=settings.finetune == "all")
    return Task(classifier, source, precision, group), splits, unreadable


def caches(settings: Settings) -> bool:
    """Whether each picture is looked at once, for its features."""
    return settings.finetune == "head" and settings.feature_cache


def workers_of(settings: Settings, precision: Precision) -> int:
    """How many threads decode pictures beside the training."""
    if caches(settings):
        return 0
    return default_workers(precision) if settings.workers is None else settings.workers


def extract(
    settings: Settings,
    classifier: Classifier,
    splits: dict[str, Split],
    views: features.Views,
    normalise: Normalisation,
    precision: Precision,
    group: Group,
    stop: Stop,
) -> tuple[dict[str, Split], dict[str, features.Features], list[features.Unreadable]]:
    """Compute the features of every picture, going on where an earlier start was interrupted.

    Raises:
        Stopped: after keeping those that are computed.
    """
    started = time.monotonic()
    extractor = features.Extractor(classifier.backbone, KINDS[settings.backbone].features, normalise, precision)
    kept = KeptFeatures(None)
    if settings.checkpoint_dir:
        run = identity.of_features(settings, classifier, splits, extractor, group.world)
        kept = KeptFeatures(settings.checkpoint_dir, group.rank, group.world, run)
    try:
        splits, cached, unreadable = features.compute(splits, views, extractor, group, stop.check, kept)
    except (Stopped, PeerLost):
        kept.write()
        if not stop.requested:
            raise
        if not kept.saved:
            stop.check()
        raise Stopped(
            f"SIGTERM came while features were computed; {kept.saved} views of this process are kept in "
            f"{settings.checkpoint_dir}"
        ) from None
    if group.leads:
        made = sum(split.values.shape[0] * split.values.shape[1] for split in cached.values()) - kept.taken
        seconds = time.monotonic() - started
        print(f"features: {made} views in {seconds:.2f} s on {group.world} process(es)", flush=True)
    return splits, cached, unreadable


def announce_epoch(entry: dict[str, float]) -> None:
    """One line per epoch; SageMaker's metric definitions read it."""
    print(
        "epoch={epoch} train_loss={train_loss:.4f} valid_loss={valid_loss:.4f} valid_accuracy={valid_accuracy:.4f} "
        "best_valid_loss={best_valid_loss:.4f} seconds={seconds:.2f}".format(**entry),
        flush=True,
    )


def finish(
    settings: Settings,
    classifier: Classifier,
    classes: list[str],
    test: Split,
    logits: torch.Tensor,
    unreadable: list[features.Unreadable],
    state: State,
    world: int,
) -> None:
    """Evaluate on the test set and write everything the job leaves behind."""
    result = evaluation.evaluate(logits, test, classes, unreadable)
    evaluation.announce(result)
    best = state.history[state.best_epoch - 1]
    kind = KINDS[settings.backbone]
    description = artifacts.Description(
        settings.backbone,
        settings.head,
        classes,
        classifier.image_size,
        list(kind.mean),
        list(kind.std),
        {
            "hyperparameters": settings.hyperparameters(),
            "best_epoch": state.best_epoch,
            "valid_loss": best["valid_loss"],
            "valid_accuracy": best["valid_accuracy"],
            "test_loss": result["loss"],
            "test_accuracy": result["accuracy"],
            "world_size": world,
            "torch": artifacts.torch_version(),
        },
    )
    artifacts.save(settings.model_dir, classifier, description)
    chosen_by = {"epoch": state.best_epoch, "loss": best["valid_loss"], "accuracy": best["valid_accuracy"]}
    evaluation.write_json(settings.output_dir / "evaluation.json", result | {"validation": chosen_by})
    predictions = evaluation.predictions(logits, test, classes, artifacts.weights_digest(settings.model_dir))
    evaluation.write_json(settings.output_dir / "predictions.json", predictions)
    evaluation.write_json(settings.output_dir / "history.json", state.history)


if __name__ == "__main__":
    run(main)
    sys.stdout.flush()
