"""The training loop: it learns, repeats itself bit for bit, resumes to the same numbers, and stops with reasons."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny import dataset, ready

from fglib import lab
from fglib.config import AugmentConfig, DataConfig, MethodConfig
from fglib.data.folder import read_folder
from fglib.data.images import DataSet
from fglib.data.made.maps import interpolations
from fglib.errors import ConfigError, HiddenLabelsError, TrainingError
from fglib.lab.run import start, training_view
from fglib.measure import Trained, classification_error
from fglib.methods import METHODS, Batch
from fglib.models import Upsampler, build_trunk
from fglib.stops import SIGNALS, interrupt
from fglib.train import fit, freeze_trunks

HERE = Path(__file__).parent


def weights(method):
    return torch.cat([t.flatten().float() for t in method.state_dict().values()])


def ready_for(name, **changes):
    """`ready` with what some methods ask for besides: two views, the network of another run, data of their own."""
    _, _, config = ready("fine" if name == "fine" else "base", **changes)
    config = dataclasses.replace(config, method=MethodConfig(name), augment=AugmentConfig(views=2))
    data = dataset()
    if name == "upsampler":
        data = DataSet("interpolations", *interpolations(4, images=24, test_images=6))
        names = dataclasses.replace(config.data, coarse="interpolation", fine="interpolation")
        config = dataclasses.replace(config, data=names)
    pretrained = Upsampler() if name == "coarse2fine" else build_trunk(config.model)
    return start(config, data, pretrained), training_view(config, data), config


@pytest.mark.parametrize("name", METHODS)
def test_every_method_lowers_its_loss(name):
    # a class per image takes its time, and the up-sampler has two layers without normalization and starts slowly
    epochs = 60 if name in ("indi", "base_indi", "base_indi_eff", "upsampler") else 20
    method, train, config = ready_for(name, epochs=epochs, lr=0.3 if name == "upsampler" else 0.05)
    progress, finished = fit(method, train, config)
    assert finished and len(progress.history) == epochs
    first, last = progress.history[0]["total"], progress.history[-1]["total"]
    assert last < first - 0.2 * abs(first)


def test_the_hooks_around_the_loop_are_called_once_each_with_all_images_in_order(tmp_path):
    method, train, config = ready(epochs=2)
    path, calls = tmp_path / "run.safetensors", []

    def hook(name):
        def call(over_images):
            means = over_images(lambda images: calls.append((name, method.training)) or images.mean((1, 2, 3)))
            expected = train.images.float().mean((1, 2, 3)) / 255
            torch.testing.assert_close(means, expected)
            assert method.training

        return call

    method.before_training, method.after_training = hook("before"), hook("after")
    original = method.after_step
    method.after_step = lambda batch: calls.append(("step", method.training)) or original(batch)
    fit(method, train, config, checkpoint=path)
    assert calls == [("before", False), *[("step", True)] * 6, ("after", False)]

    calls.clear()  # a training that goes on has begun already; what is made at the end is made again
    second, *_ = ready(epochs=2)
    second.before_training, second.after_training = hook("before"), hook("after")
    method = second
    fit(second, train, config, checkpoint=path)
    assert calls == [("after", False)]


def test_a_batch_knows_how_much_of_the_training_is_done(tmp_path):
    path, seen = tmp_path / "run.safetensors", []
    while len(seen) < 9:  # one step at a time: a training that goes on counts from its start
        method, train, config = ready()
        original = method.loss
        method.loss = lambda batch, original=original: seen.append(batch.progress) or original(batch)
        fit(method, train, config, checkpoint=path, deadline=time.monotonic() - 1)
    assert seen == pytest.approx([step / 9 for step in range(9)])


def test_the_seed_fixes_every_bit_and_another_seed_does_not():
    (a, train, config), (b, *_) = ready(), ready()
    assert fit(a, train, config)[0].history == fit(b, train, config)[0].history
    assert torch.equal(weights(a), weights(b))
    other = dataclasses.replace(config, seed=1)
    c = start(other, dataset())
    fit(c, train, other)
    assert not torch.equal(weights(a), weights(c))


def test_a_last_batch_of_one_image_is_left_out_and_the_loss_is_a_mean_over_steps():
    method, train, config = ready(epochs=1)
    seen = []
    original = method.loss
    method.loss = lambda batch: seen.append(len(batch.index)) or original(batch)
    progress, _ = fit(method, train, config)
    assert seen == [8, 8, 8] and progress.step == 3


@pytest.mark.parametrize("stop_at", [2, 3, 7])
def test_resuming_from_any_step_gives_the_numbers_of_an_uninterrupted_run(tmp_path, stop_at):
    whole, train, config = ready()
    expected, _ = fit(whole, train, config)

    first, *_ = ready()
    path = tmp_path / "run.safetensors"
    calls, original = [], first.loss

    def interrupted(batch):
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(1)
        return original(batch)

    first.loss = interrupted
    with pytest.raises(KeyboardInterrupt):
        fit(first, train, config, checkpoint=path, save_every=0.0)
    second, *_ = ready()
    torch.manual_seed(99)  # whatever state the generators are in, the checkpoint's counts
    progress, finished = fit(second, train, config, checkpoint=path)
    assert finished and progress.history == expected.history
    assert torch.equal(weights(whole), weights(second))


def test_a_deadline_stops_cleanly_and_the_next_call_goes_on(tmp_path):
    whole, train, config = ready()
    expected, _ = fit(whole, train, config)
    path, calls = tmp_path / "run.safetensors", 0
    while True:
        method, *_ = ready()
        progress, finished = fit(method, train, config, checkpoint=path, deadline=time.monotonic() - 1)
        calls += 1
        assert progress.step == min(calls, 9)
        if finished:
            break
    assert calls == 9 and progress.history == expected.history
    assert torch.equal(weights(whole), weights(method))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_takes_effect_after_the_step_and_its_checkpoint_as_often_as_it_comes(tmp_path, number):
    steps = []

    def go_on(stop_at, path):
        method, train, config = ready("base", epochs=4, errors_every=2)
        taken = partial(classification_error, Trained(method, dataset(), config))
        original = method.loss

        def loss(batch):
            steps.append(round(12 * batch.progress))
            if steps[-1] == stop_at:
                signal.raise_signal(number)
            return original(batch)

        method.loss = loss
        return *fit(method, train, config, checkpoint=path, classification_error=taken), weights(method)

    expected, _, whole = go_on(None, None)
    path, handler = tmp_path / "run.safetensors", signal.signal(number, interrupt)
    steps.clear()
    try:
        # twice in one epoch, at the end of an epoch, where errors are taken, and in the last step
        for stop_at in (0, 1, 5, 8, 11):
            with pytest.raises(KeyboardInterrupt, match=signal.Signals(number).name):
                go_on(stop_at, path)
            assert steps == list(range(stop_at + 1)) and signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, handler)
    progress, finished, last = go_on(None, path)
    assert finished and len(steps) == 12  # each of them once
    assert progress.history == expected.history and torch.equal(last, whole)


def test_a_second_ctrl_c_takes_effect_at_once_and_leaves_the_checkpoint_whole(tmp_path):
    path, ended = tmp_path / "run.safetensors", []
    method, train, config = ready()
    fit(method, train, config, checkpoint=path, deadline=time.monotonic() - 1)
    before, (method, *_) = path.read_bytes(), ready()

    def loss(batch):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        ended.append(batch)

    method.loss = loss
    with pytest.raises(KeyboardInterrupt):
        fit(method, train, config, checkpoint=path)
    assert not ended and path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_killed_process_resumes_to_the_same_numbers(tmp_path):
    path = tmp_path / "run.safetensors"
    script = textwrap.dedent(f"""
        import sys, time; sys.path.insert(0, {str(HERE)!r})
        import torch; torch.set_num_threads({torch.get_num_threads()})
        from pathlib import Path
        from tiny import ready
        from fglib.train import fit, freeze_trunks
        method, train, config = ready()
        slow = method.after_step
        method.after_step = lambda batch: time.sleep(0.5) or slow(batch)
        fit(method, train, config, checkpoint=Path({str(path)!r}), save_every=0.0)
    """)
    process = subprocess.Popen([sys.executable, "-c", script])
    for _ in range(2400):  # starting Python and torch takes a while on a busy machine
        if path.is_file():
            break
        time.sleep(0.05)
    assert path.is_file() and process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    whole, train, config = ready()
    expected, _ = fit(whole, train, config)
    method, *_ = ready()
    progress, finished = fit(method, train, config, checkpoint=path)
    assert finished and progress.history == expected.history
    assert torch.equal(weights(whole), weights(method))


def test_a_loss_that_is_not_finite_stops_with_step_parts_and_advice(tmp_path):
    method, train, config = ready()
    path, original = tmp_path / "run.safetensors", method.loss

    def broken(batch):
        parts = original(batch)
        if method.steps_seen == 4:
            parts["instance"] = parts["instance"] * float("inf")
            parts["total"] = parts["total"] + parts["instance"]
        method.steps_seen += 1
        return parts

    method.steps_seen, method.loss = 0, broken
    with pytest.raises(
        TrainingError, match=r"not finite at step 5 \(total = inf, superclass = [\d.]+, instance = inf\).*lower"
    ):
        fit(method, train, config, checkpoint=path, save_every=0.0)
    second, *_ = ready()
    progress, finished = fit(second, train, config, checkpoint=path)
    assert finished and progress.step == 9


def test_hidden_labels_stay_hidden_from_every_coarse_trained_method():
    for name in METHODS:
        _, train, _ = ready_for(name)
        if name in ("fine", "upsampler"):  # permitted to see them; trained on maps, which have one level
            continue
        assert train.visible == ("big",)
        with pytest.raises(HiddenLabelsError, match="small"):
            train.labels("small")
    with pytest.raises(ConfigError, match="use_fine: true"):
        _, _, config = ready("fine")
        start(dataclasses.replace(config, use_fine=False), dataset())


def test_a_batch_gives_no_fine_labels_without_permission():
    with pytest.raises(HiddenLabelsError, match="use_fine"):
        _ = Batch(torch.zeros(1, 2, 3, 4, 4), torch.zeros(2), torch.arange(2)).fine


def test_bf16_trains_and_keeps_the_weights_in_float32():
    method, train, config = ready(epochs=30, lr=0.2, precision="bf16")
    progress, _ = fit(method, train, dataclasses.replace(config, augment=AugmentConfig()))
    assert {p.dtype for p in method.parameters()} == {torch.float32}
    assert progress.history[-1]["total"] < 0.8 * progress.history[0]["total"]


# Errors that are taken while a training goes on


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_frozen_stage_keeps_every_bit_and_a_stop_changes_nothing(tmp_path, optimizer):
    method, train, config = ready_for("base", epochs=4, freeze="layer1", freeze_bn=True, optimizer=optimizer, lr=0.01)
    before = {name: value.clone() for name, value in method.trunk.state_dict().items()}
    fit(method, train, config)
    moved = {name for name, value in method.trunk.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("body.layer2") and "running" not in name for name in moved)
    again, train, config = ready_for("base", epochs=4, freeze="layer1", freeze_bn=True, optimizer=optimizer, lr=0.01)
    fit(again, train, config, checkpoint=tmp_path / "a.safetensors", deadline=time.monotonic())
    again, train, config = ready_for("base", epochs=4, freeze="layer1", freeze_bn=True, optimizer=optimizer, lr=0.01)
    fit(again, train, config, checkpoint=tmp_path / "a.safetensors")
    assert torch.equal(weights(again), weights(method))


@pytest.mark.parametrize(
    ("weights", "said", "frozen"),
    [("imagenet", None, True), ("imagenet", False, False), (None, None, False), (None, True, True)],
)
def test_statistics_are_frozen_where_weights_are_imagenets_unless_said_otherwise(weights, said, frozen):
    method, train, config = ready_for("base", freeze_bn=said)
    freeze_trunks(method, train, dataclasses.replace(config, model=dataclasses.replace(config.model, weights=weights)))
    norms = [m for m in method.trunk.train().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and all(norm.training != frozen for norm in norms)


def test_errors_join_the_history_every_few_epochs():
    for every, expected in ((2, [2, 4]), (1, [1, 2, 3, 4, 5]), (5, [5]), (6, []), (0, [])):
        method, train, config = ready("base", epochs=5, errors_every=every)
        calls = []
        progress, _ = fit(
            method, train, config, classification_error=lambda calls=calls: calls.append(1) or {"error": len(calls)}
        )
        assert [row["epoch"] for row in progress.history if "error" in row] == expected
        assert [row["error"] for row in progress.history if "error" in row] == list(range(1, len(expected) + 1))
    assert all({"epoch", "lr", "total"} <= set(row) for row in progress.history)


def on_disk(root, write_image):
    """Twelve and six images of three classes, decoded when asked for."""
    for split, count in (("train", 4), ("test", 2)):
        for c in range(3):
            for i in range(count):
                write_image(root / split / f"class{c}" / f"{i}.png", (80 * c, 60 * i, 40), (16, 16))
    return DataSet("shop", *(read_folder(root, split, ["class"], 16, resident=False) for split in ("train", "test")))


@pytest.mark.parametrize("resident", [True, False])
def test_errors_do_not_change_the_training_by_a_bit(resident, tmp_path, write_image):
    """Nor the draws of the augmentation and of the block, also where the images come from files."""
    data = dataset() if resident else on_disk(tmp_path, write_image)
    _, _, config = ready("base", epochs=2)
    names = config.data if resident else DataConfig("shop", "class", "class")
    config = dataclasses.replace(config, data=names, method=MethodConfig("db"))
    found = []
    for every in (0, 1):
        settings = dataclasses.replace(config, train=dataclasses.replace(config.train, errors_every=every))
        method = start(settings, data)
        taken = partial(classification_error, Trained(method, data, settings))
        progress, _ = fit(method, training_view(settings, data), settings, classification_error=taken)
        found.append((weights(method), [row["total"] for row in progress.history]))
        assert method.training
    assert torch.equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    assert all(0 <= row[f"{part}_error"] <= 100 for row in progress.history for part in ("train", "test"))


@pytest.mark.parametrize("by", ["interruption", "deadline"])
def test_errors_survive_a_stop(tmp_path, by):
    path, histories = tmp_path / "run.safetensors", []

    def go_on(**how):
        method, train, config = ready("base", errors_every=2, epochs=4)
        taken = partial(classification_error, Trained(method, dataset(), config))
        if how.pop("interrupted", False):
            original, steps = method.loss, []

            def loss(batch):
                if len(steps) == 8:  # in the third epoch
                    raise KeyboardInterrupt
                steps.append(1)
                return original(batch)

            method.loss = loss
        progress, finished = fit(method, train, config, classification_error=taken, **how)
        return progress.history, finished, weights(method)

    expected, _, whole = go_on()
    if by == "interruption":
        with pytest.raises(KeyboardInterrupt):
            go_on(interrupted=True, checkpoint=path, save_every=0.0)
        history, finished, last = go_on(checkpoint=path)
    else:
        finished = False
        while not finished:
            history, finished, last = go_on(checkpoint=path, deadline=time.monotonic() - 1)
            histories.append(history)
        assert len(histories) == 12
    assert finished and history == expected and torch.equal(last, whole)
    assert [sorted(set(row) & {"train_error", "test_error"}) for row in history] == [
        [],
        ["test_error", "train_error"],
        [],
        ["test_error", "train_error"],
    ]


def test_a_run_takes_its_errors_from_the_measure(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / "checkpoints"))

    def trained(every):
        changes = {"measure": ["classification_error"], "train": {"epochs": 3, "errors_every": every}}
        (plan,) = lab.plans("subtle_patches", "smoke", variants=["db_gce"], overrides=changes)
        assert all(done for _, done in lab.train_plans([plan], device="cpu"))
        return plan.load()

    with_errors, without = trained(3), trained(0)
    assert [set(row) & set(with_errors.metrics) for row in with_errors.history] == [
        set(),
        set(),
        set(with_errors.metrics),
    ]
    assert {name: with_errors.history[-1][name] for name in with_errors.metrics} == with_errors.metrics
    assert with_errors.metrics == without.metrics and set(without.metrics) == {"train_error", "test_error"}
    assert [row["total"] for row in with_errors.history] == [row["total"] for row in without.history]
    assert with_errors.plan.config.key() != without.plan.config.key()


@pytest.mark.parametrize("name", ["snca", "bap", "db_center"])
def test_embeddings_that_are_not_finite_are_reported_as_a_loss_before_they_reach_the_methods_state(name):
    method, train, config = ready_for(name)
    state = "memory.vectors" if name == "snca" else "centers"
    original, seen = method.trunk.forward, []

    def broken(images):
        seen.append(images)
        return original(images) * (torch.nan if len(seen) > 8 else 1)

    if name == "snca":
        method.trunk.forward = broken
    else:
        method.trunk.maps = lambda images: seen.append(images) or maps(images) * (torch.nan if len(seen) > 2 else 1)
        maps = type(method.trunk).maps.__get__(method.trunk)
    with pytest.raises(TrainingError, match="not finite at step"):
        fit(method, train, config)
    assert method.state_dict()[state].isfinite().all()
