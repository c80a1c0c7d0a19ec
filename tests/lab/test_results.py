"""Run records: written whole or not at all, found by configuration, trained only where missing."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_grid import YAML

from fglib import lab
from fglib.errors import ConfigError, FglibError, RecordError
from fglib.lab.grid import load_experiment
from fglib.lab.records import MAX_ARRAY_BYTES, write_record


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / "checkpoints"))
    path = tmp_path / "tiny.yml"
    path.write_text(YAML)
    return str(path)


def test_ensure_trains_what_is_missing_once_and_refresh_trains_again(tiny):
    first = lab.ensure(tiny, "cpu", device="cpu", seeds=[0])
    assert [(r.plan.variant, r.plan.seed) for r in first.runs] == [("base", 0), ("fine", 0)] and not first.missing
    files = {p: p.stat().st_mtime_ns for p in first.runs[0].plan.folder.iterdir()}
    again = lab.ensure(tiny, "cpu", device="cpu", seeds=[0])
    assert {p: p.stat().st_mtime_ns for p in files} == files
    assert again.runs[0].metrics == first.runs[0].metrics
    refreshed = lab.ensure(tiny, "cpu", device="cpu", seeds=[0], variants=["base"], refresh=True)
    assert {p: p.stat().st_mtime_ns for p in files} != files
    assert refreshed.runs[0].metrics == first.runs[0].metrics  # the seed fixes the numbers


def test_a_record_says_where_it_comes_from(tiny):
    (run,) = lab.ensure(tiny, "cpu", device="cpu", seeds=[1], variants=["base"]).runs
    record = json.loads((run.plan.folder / "run.json").read_text())
    assert record["key"] == run.plan.config.key() and record["config"]["seed"] == 1
    assert len(record["history"]) == 2 and {"epoch", "lr", "total"} == set(record["history"][0])
    assert {"date", "revision", "versions", "processor", "device", "threads", "precision", "seconds"} | {
        "peak_memory_mb"
    } == set(record["provenance"])
    assert {"coarse_top1", "coarse_top5", "fine_r1", "fine_r8", "fine_map", "coarse_r1"} <= set(record["metrics"])
    assert (run.plan.folder / "arrays.npz").stat().st_size < MAX_ARRAY_BYTES


def test_recorded_prefers_paper_then_cpu_never_smoke_and_complete_before_partial(tiny):
    assert not lab.recorded(tiny) and lab.recorded(tiny).preset is None
    assert lab.recorded(tiny).command == "fglib train tiny --preset paper"
    lab.ensure(tiny, "smoke", device="cpu")
    assert not lab.recorded(tiny)
    lab.ensure(tiny, "paper", device="cpu", seeds=[0], variants=["base"])
    assert lab.recorded(tiny).preset == "paper"
    lab.ensure(tiny, "cpu", device="cpu", seeds=[0])
    results = lab.recorded(tiny)
    assert results.preset == "cpu" and results.variants == ["base", "fine"]
    assert [p.seed for p in results.missing] == [1, 1]
    assert results.values("base", "fine_r1").shape == (1,) and results.values("fine", "coarse_top1").shape == (0,)
    lab.ensure(tiny, "paper", device="cpu", seeds=[0], variants=["fine"])
    assert lab.recorded(tiny).preset == "paper"


def test_recorded_trains_nothing_and_refuses_to(tiny):
    assert lab.ensure(tiny).runs == ()
    with pytest.raises(ConfigError, match="trains nothing"):
        lab.ensure(tiny, refresh=True)


def test_overrides_are_runs_of_their_own(tiny):
    plain = lab.plans(tiny, "smoke", variants=["base"])[0]
    other = lab.plans(tiny, "smoke", variants=["base"], overrides={"train": {"epochs": 2}})[0]
    assert other.config.train.epochs == 2 and other.config.train.lr == plain.config.train.lr
    assert plain.folder != other.folder
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        lab.plans(tiny, "smoke", overrides={"train": {"epoch": 2}})
    with pytest.raises(ConfigError, match="unknown variant 'bas'.*did you mean 'base'"):
        lab.plans(tiny, "smoke", variants=["bas"])


def test_a_new_measure_is_taken_from_the_kept_weights_without_training(tiny, monkeypatch):
    lab.ensure(tiny, "smoke", device="cpu", variants=["base"])
    Path(tiny).write_text(YAML.replace("[accuracy, retrieval]", "[accuracy, retrieval, gallery]"))
    (plan,) = lab.plans(tiny, "smoke", variants=["base"])
    assert not plan.recorded and plan.checkpoint.is_file()
    from fglib.methods import METHODS

    def no_step(self, batch):
        raise AssertionError("trained again")

    monkeypatch.setattr(METHODS["base"], "loss", no_step)
    (run,) = lab.ensure(tiny, "smoke", device="cpu", variants=["base"]).runs
    assert run.arrays["gallery_queries"].shape[0] == 8 and "fine_r1" in run.metrics


@pytest.mark.parametrize("text", ["", "{", "[]", '{"metrics": {}}', "\x00\x01"])
def test_a_record_that_is_not_json_is_named(tiny, text):
    (run,) = lab.ensure(tiny, "cpu", device="cpu", seeds=[0], variants=["base"]).runs
    (run.plan.folder / "run.json").write_text(text)
    with pytest.raises(RecordError, match=r"run\.json (is not|holds).*delete its folder"):
        lab.recorded(tiny)


def test_damaged_arrays_are_named(tiny):
    (run,) = lab.ensure(tiny, "cpu", device="cpu", seeds=[0], variants=["base"]).runs
    (run.plan.folder / "arrays.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(RecordError, match=r"arrays\.npz cannot be read"):
        _ = run.plan.load().arrays


def test_a_crash_between_the_two_files_leaves_the_old_record(tiny, monkeypatch):
    (run,) = lab.ensure(tiny, "cpu", device="cpu", seeds=[0], variants=["base"]).runs
    before = (run.plan.folder / "run.json").read_bytes()
    replace = Path.replace

    def full(self, target):
        if "run.json" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FglibError, match="No space left on device"):
        lab.ensure(tiny, "cpu", device="cpu", seeds=[0], variants=["base"], refresh=True)
    assert (run.plan.folder / "run.json").read_bytes() == before
    assert not list(run.plan.folder.glob(".*tmp"))


def test_no_write_permission_is_one_sentence(tiny, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("FGLIB_RESULTS", str(blocked))
    with pytest.raises(FglibError, match="cannot write .*FGLIB_RESULTS"):
        lab.ensure(tiny, "smoke", device="cpu", variants=["base"])


def test_arrays_over_the_limit_are_refused_and_undefined_metrics_are_null(tiny):
    (plan,) = lab.plans(tiny, "smoke", variants=["base"])
    noise = np.random.default_rng(0).integers(0, 255, 1_100_000, dtype=np.uint8)
    with pytest.raises(FglibError, match="over the 1,000,000 a record may hold"):
        write_record(plan, {}, [], {"noise": noise}, {})
    assert not plan.folder.exists()
    write_record(plan, {"fine_r1": float("nan"), "fine_r2": 1.0}, [], {}, {})
    assert json.loads((plan.folder / "run.json").read_text())["metrics"] == {"fine_r1": None, "fine_r2": 1.0}


def test_restore_gives_the_trained_method_and_says_how_to_make_missing_weights(tiny):
    from fglib.lab.run import restore

    (run,) = lab.ensure(tiny, "smoke", device="cpu", variants=["base"]).runs
    from fglib.measure import measure

    metrics, _ = measure(restore(run.plan))
    assert metrics == run.metrics
    run.plan.checkpoint.unlink()
    with pytest.raises(FglibError, match="no weights at .*--variants base --refresh"):
        restore(run.plan)


def test_out_of_time_leaves_no_record_and_the_next_call_finishes(tiny):
    plans = lab.plans(tiny, "cpu", seeds=[0])
    ended = list(lab.train_plans(plans, device="cpu", deadline=0.0))
    assert [(p.variant, done) for p, done in ended] == [("base", False)]
    assert not plans[0].recorded and plans[0].checkpoint.is_file()
    assert all(done for _, done in lab.train_plans(plans, device="cpu"))
    assert all(p.recorded for p in plans)
    assert load_experiment(Path(tiny)).name == "tiny"


# A preset for any folder of images


@pytest.fixture
def terrain(tmp_path, monkeypatch):
    """terrain(data, variants) -> plans of the terrain experiment's paper preset, its network and images made small."""
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.chdir(tmp_path)
    small = {
        "model": {"backbone": "small_resnet", "weights": None, "width": 4, "blocks": [1, 1]},
        "train": {"epochs": 2, "batch_size": 5, "errors_every": 1},
    }

    def plans(variants=None, **data):
        return lab.plans("subtle_terrain", "paper", [0], variants, small | {"data": {"size": 16, **data}})

    return plans


def test_the_terrain_preset_trains_on_any_folder_of_classes(terrain, tmp_path, write_image):
    for split, count in (("train", 4), ("test", 2)):
        for c, name in enumerate(("asphalt", "grass", "sand")):
            for i in range(count):
                write_image(tmp_path / "my/ground" / split / name / f"{i}.png", (90 * c, 60 * i, 20), (24, 20))
    plans = terrain(options={"path": str(tmp_path / "my/ground"), "levels": ["class"]})
    assert [plan.variant for plan in plans] == ["plain", "db", "gce", "db_gce"]
    assert all(done for _, done in lab.train_plans(plans, device="cpu"))
    for plan in plans:
        run = plan.load()
        assert {"top1", "top1_five_crops", "train_error", "test_error"} <= set(run.metrics)
        assert run.metrics["test_error"] == pytest.approx(100 - run.metrics["top1"])
        assert [row["epoch"] for row in run.history if "test_error" in row] == [1, 2]
        assert run.arrays["confusion_names"].tolist() == ["asphalt", "grass", "sand"]


def test_the_terrain_preset_says_where_images_belong(terrain, tmp_path, write_image):
    def message():
        with pytest.raises(FglibError) as error:
            list(lab.train_plans(terrain(["plain"]), device="cpu"))
        return str(error.value)

    def here():
        options = {"path": "terrain", "levels": ["class"]}  # a path of the caller's, so below the working directory
        with pytest.raises(FglibError) as error:
            list(lab.train_plans(terrain(["plain"], options=options), device="cpu"))
        return str(error.value)

    assert "data set 'folder' needs the option 'path'" in message()
    assert f"there is no folder or zip archive {tmp_path}/terrain" in here()
    write_image(tmp_path / "terrain/train/sand/0.png")
    write_image(tmp_path / "terrain/train/grass/0.png")
    assert "terrain has a folder train but no folder test; add test/<class>/..." in here()
    write_image(tmp_path / "terrain/test/grass/0.png")
    (tmp_path / "terrain/test/sand").mkdir()
    assert f"class folder {tmp_path}/terrain/test/sand holds no images" in here()


# What is not recorded any more, and what must not be overwritten


def test_a_damaged_or_foreign_record_is_one_sentence(tiny):
    (run,) = lab.ensure(tiny, "cpu", device="cpu", seeds=[0], variants=["base"]).runs
    path = run.plan.folder / "run.json"
    record = json.loads(path.read_text())
    for change in (
        {"metrics": {"fine_r1": "x"}},
        {"metrics": [1]},
        {"metrics": {"fine_r1": True}},
        {"history": [{"total": "x"}]},
        {"history": 3},
        {"key": "0" * 10},
        {"seed": 7},
        {"fingerprints": "x"},
        {"config": None},
    ):
        path.write_text(json.dumps(record | change))
        with pytest.raises(RecordError, match=r"run\.json is not a run record .*delete its folder"):
            run.plan.load()
    for text in ('{"metrics": NaN}', '{"a": 1, "a": 2}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(RecordError, match="delete its folder"):
            run.plan.load()


def test_arrays_of_another_training_are_refused(tiny):
    one, two = lab.ensure(tiny, "cpu", device="cpu", variants=["base"]).runs
    (one.plan.folder / "arrays.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(RecordError, match="not the file that run.json has the digest of"):
        _ = one.plan.load().arrays
    assert isinstance(two.plan.load().arrays, dict)


def test_a_record_says_whether_todays_code_made_it(tiny, monkeypatch):
    from fglib.lab import records

    (run,) = lab.ensure(tiny, "cpu", device="cpu", seeds=[0], variants=["base"]).runs
    assert run.standing == records.CURRENT and records.not_current([run]) == ""
    monkeypatch.setattr("fglib.lab.plan.code_fingerprint", lambda *methods: "another")
    assert run.standing == records.CHANGED
    assert records.not_current([run]) == "1 of 1 records were made by code that has changed since"
    path = run.plan.folder / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in record.items() if k not in ("fingerprints", "arrays")}))
    old = run.plan.load()
    assert old.standing == records.UNKNOWN and isinstance(old.arrays, dict)


CATALOGUE = YAML.replace(
    "{name: nested_patches, coarse: big, fine: small, size: 16, options: {classes: 3, children: 2, images: 24}}",
    "{name: folder, coarse: coarse, fine: fine, size: 16, options: {path: pictures}}",
)


@pytest.fixture
def own(tmp_path, write_image, monkeypatch):
    """An experiment file of a user's own beside a catalogue that it names by a relative path."""
    for name in ("FGLIB_RESULTS", "FGLIB_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)
    for split, count in (("train", 6), ("test", 2)):
        for i, (coarse, fine) in enumerate((("a", "x"), ("a", "y"), ("b", "z"))):
            for k in range(count):
                write_image(
                    tmp_path / "mine/pictures" / split / coarse / fine / f"{k}.png", (80 * i, 30 * k, 9), (16, 16)
                )
    (tmp_path / "mine/own.yml").write_text(CATALOGUE)
    monkeypatch.chdir(tmp_path)
    return "mine/own.yml"


def test_a_relative_path_means_the_folder_of_the_file_and_records_lie_beside_it(own, tmp_path, monkeypatch):
    (run,) = lab.ensure(own, "smoke", device="cpu", variants=["base"]).runs
    assert run.plan.config.data.options["path"] == str(tmp_path / "mine/pictures")
    assert run.plan.folder.parent == tmp_path / "mine/results/own"
    assert run.plan.checkpoint.is_file() and tmp_path / "mine/checkpoints/own" in run.plan.checkpoint.parents
    (tmp_path / "other").mkdir()
    (tmp_path / "mine").rename(tmp_path / "other/mine")
    (moved,) = lab.plans(str(tmp_path / "other/mine/own.yml"), "smoke", variants=["base"])
    assert moved.config.key() != run.plan.config.key()  # other pictures, another run
    # a path that the caller gives means the working directory
    monkeypatch.chdir(tmp_path / "other")
    given = {"data": {"options": {"path": "mine/pictures"}}}
    (called,) = lab.plans("mine/own.yml", "smoke", variants=["base"], overrides=given)
    assert called.config == moved.config


def test_images_added_later_are_noticed_by_every_door(own, tmp_path, write_image):
    plan = lab.ensure(own, "cpu", device="cpu", seeds=[0], variants=["base"]).runs[0].plan
    before = (plan.folder / "run.json").read_bytes()
    write_image(tmp_path / "mine/pictures/train/a/x/new.png", (1, 2, 3), (16, 16))
    with pytest.raises(
        RecordError, match=r"images or labels have changed .*then 18 to train and 6 to test, now 19 and 6"
    ):
        lab.ensure(own, "cpu", device="cpu", seeds=[0], variants=["base"])
    assert (plan.folder / "run.json").read_bytes() == before
    # the kept weights are of the old images: neither gone on with nor restored
    from fglib.lab.run import restore

    with pytest.raises(RecordError, match="belongs to other images or labels"):
        restore(plan)
    (new,) = lab.ensure(own, "cpu", device="cpu", seeds=[0], variants=["base"], refresh=True).runs
    assert new.fingerprints["data"].endswith("-19-6") and new.plan.folder == plan.folder
    assert lab.ensure(own, "cpu", device="cpu", seeds=[0], variants=["base"]).runs[0].metrics == new.metrics


def test_what_a_reader_changes_or_repeats_lies_apart_from_the_books_records(monkeypatch):
    from fglib.lab.places import root, tweaks

    for name in ("FGLIB_RESULTS", "FGLIB_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)
    (plain,) = lab.plans("digits", "smoke", variants=["base"])
    (again,) = lab.plans("digits", "smoke", variants=["base"], tweak=True)
    (changed,) = lab.plans("digits", "smoke", variants=["base"], overrides={"train": {"epochs": 2}})
    assert root() / "book/results" in plain.folder.parents and root() / "checkpoints" in plain.checkpoint.parents
    for plan in (again, changed):
        assert tweaks() / "results" in plan.folder.parents and tweaks() / "checkpoints" in plan.checkpoint.parents
    trained = []
    monkeypatch.setattr("fglib.lab.results.train_plans", lambda wanted, **how: trained.extend(wanted) or [])
    lab.ensure("digits", "smoke", variants=["base"], refresh=True)
    assert [plan.folder for plan in trained] == [again.folder]
