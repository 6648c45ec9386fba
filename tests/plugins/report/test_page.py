from __future__ import annotations

import copy
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from musher.record import PARTS, Evaluation, RunRecord
from musher.report import charts, diagnostics_charts, drawing
from musher.report.page import moment, number, percent, usd
from musher.report.page import render as render_record

RECORD = json.loads((Path(__file__).parents[1] / "record/record.json").read_text())
EVIL = '<script>alert("x")</script>'


def render(content):
    return render_record(RunRecord.from_json(content))


CHARTS = (
    "tuning", "training", "confusion", "capacity", "scaling", "latency", "concurrency", "release", "costs",
    "break_even",
)  # fmt: skip
DRAWN: dict[str, str | None] = {}


@pytest.fixture(autouse=True)
def no_chart_is_drawn_twice(monkeypatch):
    """To draw one takes a tenth of a second, and the records of most tests differ in one part only."""

    def remembered(name, draw):
        def chart(*arguments):
            key = f"{name}{arguments!r}"
            if key not in DRAWN:
                DRAWN[key] = draw(*arguments)
            return DRAWN[key]

        return chart

    for name in CHARTS:
        monkeypatch.setattr(charts, name, remembered(name, getattr(charts, name)))
    monkeypatch.setattr(diagnostics_charts, "curves", remembered("curves", diagnostics_charts.curves))


class Outline(HTMLParser):
    """Which tags a page has, whether they nest, and what it would load."""

    VOID = {"meta", "img", "br", "link", "input"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        # Nine tenths of a page are its drawings, and most pages of the tests have the same.
        for part in re.split(r"(<svg.*?</svg>)", page, flags=re.DOTALL):
            if part.startswith("<svg"):
                assert "<" not in self.rawdata, "a drawing begins within a tag"
                if part not in OUTLINES:
                    OUTLINES[part] = Drawing(part)
                self.tags += OUTLINES[part].tags
                self.loads += OUTLINES[part].loads
            else:
                self.feed(part)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [v for k, v in attributes if k in ("src", "href", "xlink:href", "srcset", "action") and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class Drawing(Outline):
    """The outline of one drawing, in which every tag is closed."""

    def __init__(self, svg: str) -> None:
        HTMLParser.__init__(self)
        self.tags, self.loads, self.open = [], [], []
        self.feed(svg)
        self.close()
        assert self.open == []


OUTLINES: dict[str, Drawing] = {}


def every_text_replaced(value, text):
    if isinstance(value, dict):
        return {key: every_text_replaced(each, text) for key, each in value.items()}
    if isinstance(value, list):
        return [every_text_replaced(each, text) for each in value]
    return text if isinstance(value, str) else value


def test_a_full_record_has_every_section_and_every_chart():
    page = render(RECORD)

    outline = Outline(page)
    assert outline.open == []
    assert outline.tags.count("svg") == 12
    assert outline.tags.count("img") == len(RECORD["evaluation"]["worst"])
    assert "was not run" not in page
    assert "What is real here, and what is simulated" in page


def test_the_page_loads_nothing_from_anywhere():
    outline = Outline(render(RECORD))

    assert [load for load in outline.loads if not load.startswith(("#", "data:image/"))] == []
    assert not {"script", "link", "iframe"} & set(outline.tags)
    assert "url(http" not in render(RECORD)


def test_nothing_from_the_record_becomes_markup():
    page = render(every_text_replaced(RECORD, EVIL))

    assert EVIL not in page
    assert "script" not in Outline(page).tags
    assert "alert(&#34;x&#34;)" in page


def test_a_thumbnail_that_is_no_base64_is_left_out():
    record = copy.deepcopy(RECORD)
    record["evaluation"]["worst"][0]["thumbnail"] = 'x" onerror="alert(1)'

    page = render(record)

    assert "onerror" not in page
    assert Outline(page).tags.count("img") == len(RECORD["evaluation"]["worst"]) - 1


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_was_not_run_leaves_the_others_standing(part):
    page = render(RECORD | {part: None})

    assert Outline(page).open == []
    assert "None" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_its_fields_is_no_error(part):
    assert Outline(render(RECORD | {part: {}})).open == []


def test_a_part_that_cannot_be_read_says_so_and_leaves_the_others_standing():
    page = render(RECORD | {"tuning": {"trials": "many"}})

    assert Outline(page).open == []
    assert '<p class="unreadable">tuning is damaged: job is missing.</p>' in page
    assert "Tuning could not be read." in page
    assert Outline(page).tags.count("svg") == 11


def test_a_figure_that_was_not_measured_is_a_dash():
    record = copy.deepcopy(RECORD)
    record["tuning"]["trials"][0]["objective"] = None
    record["training"]["jobs"][0]["test_accuracy"] = None
    record["costs"]["per_1000_predictions_usd"] = None

    page = render(record)

    assert page.count(">–<") == render(RECORD).count(">–<") + 3
    assert ">None<" not in page


def test_a_field_that_is_null_is_a_dash():
    record = copy.deepcopy(RECORD)
    record["training"]["jobs"][0]["instance_type"] = None
    record["endpoint"]["instance_type"] = None

    assert ">None<" not in render(record)


def test_a_run_that_wrote_nothing_still_has_a_page():
    page = render({"run": "r", "environment": "aws"})

    assert page.count("was not run") == 9
    assert "What is real here" not in page


def rehearsal_section(record) -> str:
    page = render(record)
    section = page[page.index('<section id="rehearsal">') : page.index('<section id="capacity">')]
    return html.unescape(" ".join(re.sub("<[^>]+>", " ", section).split()))


def test_the_rehearsal_says_how_what_serves_compares_with_what_was_judged():
    section = rehearsal_section(RECORD)

    assert "Rehearsed in full: no rehearsal has passed yet." in section
    assert "50 test photos went through the function musher-classifier-rehearsal , alias live" in section
    assert "Agreement 104 of 105 answers, and 1 near ties" in section
    assert "Largest difference 0.031 between two probabilities of a label; 0.1 is tolerated" in section
    assert "Accuracy 91.4% as served, 92.0% as evaluated" in section
    assert "Weights 0123456789abcdef served, 0123456789abcdef judged" in section
    assert "p99 61.5 ms at 6.5 calls a second; the limit is 400 ms" in section


def test_a_rehearsal_that_is_not_fit_says_why_and_shows_the_photos():
    record = copy.deepcopy(RECORD)
    record["parity"] |= {"passed": False, "reasons": ["2 of 105 answers are further than 0.1 from the evaluation's"]}
    record["parity"]["comparison"]["differences"] = [
        {"file": "a/1.jpg", "label": "a", "judged": "a", "judged_probability": 0.91, "served": "b",
         "served_probability": 0.8},
    ]  # fmt: skip
    section = rehearsal_section(record)

    assert "It is not fit to serve: 2 of 105 answers are further than 0.1 from the evaluation's." in section
    assert "a/1.jpg a a 0.91 b 0.8" in section
    record["parity"]["comparison"] |= {"not_compared": "the model has no predictions of its evaluation"}
    record["parity"]["registered"] = {
        "right": 1, "pictures": 35, "registered": 0.97, "p_value": 1e-20, "less": True, "why": "2.9% is told right",
    }  # fmt: skip
    record["parity"]["pace"] = {"name": "latency", "outcome": "fail", "why": "it takes 2.00 times as long"}
    section = rehearsal_section(record)
    assert "Not compared: the model has no predictions of its evaluation" in section
    assert "Accuracy 2.9% is told right" in section
    assert "Beside what serves it takes 2.00 times as long" in section


def test_what_a_short_rehearsal_took_over_is_said_where_it_was_not_measured():
    named = {"facts": {}, "run": "earlier", "package_arn": "package/7", "passed_at": "2026-11-25T17:00:00+00:00"}
    before = named | {"capacity": RECORD["endpoint"]["capacity"]}
    short = {**RECORD["rehearsal"], "extent": "short", "before": before}
    page = render(RECORD | {"rehearsal": short} | dict.fromkeys(("autoscaling", "load_test")))

    as_before = "as in that of package/7, which passed on 2026-11-25T17:00:00+00:00 (run earlier)."
    for what in ("Not measured again", "Not put under load again", "Not run again"):
        assert f"{what}: {as_before}" in page
    assert "The load test was not run" not in page


def test_a_rejected_model_says_why_at_the_top():
    model = RECORD["model"] | {"status": "Rejected", "reason": "accuracy 0.61 is below the floor of 0.80"}
    nothing = dict.fromkeys(("verdict", "endpoint", "autoscaling", "lambda", "load_test", "release"))

    page = render(RECORD | {"model": model} | nothing)

    top = page[page.index('id="verdict"') : page.index("<nav")]
    assert "Model rejected, not deployed" in top
    assert "accuracy 0.61 is below the floor of 0.80" in top


def test_a_failed_check_is_marked():
    record = copy.deepcopy(RECORD)
    record["release"] = None
    record["verdict"]["passed"] = False
    record["verdict"]["checks"][1] |= {"passed": False, "measured": "2 cold starts in 10 calls"}

    page = render(record)

    assert page.count('<tr class="bad">') == 1
    assert "1 of 10 checks: no cold start within provisioned" in page


def test_costs_tell_what_was_measured_from_what_was_worked_out():
    page = render(RECORD)
    costs = page[page.index('<section id="costs">') :]

    assert "seconds on this machine are priced as if AWS had taken them" in costs
    rows = re.findall(r'<tr( class="quiet")?><td>(?:SageMaker|EC2)[^<]*</td>.*?<td>([^<]*)</td></tr>', costs)
    assert len(rows) == len(RECORD["costs"]["per_path"])
    assert [basis == "measured" for _, basis in rows] == [not quiet for quiet, _ in rows]
    assert {basis for _, basis in rows} > {"measured"}
    assert RECORD["costs"]["lambda"]["break_even"] in costs
    assert "training: $0.02, at worst $1.15, of $25.00 allowed" in costs
    parts = RunRecord.from_json(RECORD).costs
    svg = charts.costs(parts)
    assert ">measured</text>" in svg
    assert ">worked out</text>" in svg
    assert ">break-even " in charts.break_even(parts.function)


def test_an_interrupted_training_says_what_its_checkpoints_were_worth():
    page = render(RECORD)
    assert "1 of 2 Spot instances were taken back: checkpoints kept 7 s of their work, 5 s were lost" in page


def test_a_path_without_a_price_is_no_bar_and_a_dash():
    record = copy.deepcopy(RECORD)
    record["costs"]["per_path"] = [
        RECORD["costs"]["per_path"][0] | {"path": "EC2 Spot", "usd": None, "basis": "prices.json has no price for it"}
    ]

    assert charts.costs(RunRecord.from_json(record).costs) is None
    assert "prices.json has no price for it" in render(record)


def test_charts_follow_the_page_s_colours_and_keep_their_text():
    svg = charts.capacity(RunRecord.from_json(RECORD).endpoint.capacity)

    assert "var(--first)" in svg
    assert not set(drawing._COLOURS) & set(re.findall(r"#[0-9a-f]{6}", svg))
    assert ">offered requests a second</text>" in svg


@pytest.mark.slow
def test_the_same_record_is_the_same_page(monkeypatch):
    monkeypatch.undo()  # each chart is drawn anew
    assert render(RECORD) == render(RECORD)


def evaluation(classes, confusion):
    return Evaluation(accuracy=0.9, loss=0.3, images=50, classes=classes, confusion=confusion)


@pytest.mark.parametrize("classes", [2, pytest.param(40, marks=pytest.mark.slow), 133])
def test_a_confusion_matrix_of_any_size(classes):
    rows = [[3 if true == predicted else 0 for predicted in range(classes)] for true in range(classes)]
    svg = charts.confusion(evaluation([f"{n:03}.Breed_{n}" for n in range(classes)], rows))

    assert (">Breed 1</text>" in svg) == (classes <= charts.MOST_NAMED_CLASSES)
    assert len(svg) < 2_000_000


@pytest.mark.parametrize("rows", [[], [[1, 2]], [[1, 2], [3]]])
def test_a_confusion_matrix_that_is_none_is_left_out(rows):
    assert charts.confusion(evaluation(["a", "b"], rows)) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.0, "0"),
        (1409, "1,409"),
        (38.4312, "38.4"),
        (0.30912, "0.309"),
        (1e-5, "0.00001"),
        (9.0, "9"),
        (1310.2, "1,310"),
        (float("nan"), "–"),
        ("x", "–"),
        (True, "–"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert number(value) == text


def test_money_shares_and_moments():
    assert [usd(0.00268), usd(1.2), usd(0), usd(None)] == ["$0.00268", "$1.20", "$0.00", "–"]
    assert [percent(0.925), percent(None)] == ["92.5%", "–"]
    assert moment("2026-11-20T12:00:00+00:00") == "20 November 2026, 12:00 UTC"
    assert moment("soon") == "soon"


HOSTILE = [
    r"$\frac{a}$",
    "$",
    r"a $x^ \unknown$ b",
    r"\textbf{x}",
    "<script>alert(1)</script>",
    "two\nlines\tand a tab",
    "שלום עולם",
    "\u202edog",
    "🐕‍🦺 dog",
    "W" * 255,
    "_",
    "__",
    "-rf",
    "e\u0301te\u0301",
    "#010101",
    "a\x00b\x1bc\ud800d",
    "001.",
    "{x:g} %s {{ 7 * 7 }}",
    " ",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_class_breaks_the_report(name):
    # GIVEN a run whose classes have such a name, everywhere a class is named; three, since each has a row and a column
    # of its chart, which is drawn anew for each name
    record = copy.deepcopy(RECORD)
    classes = [name, *record["evaluation"]["classes"][1:3]]
    record["dataset"]["classes"] = record["evaluation"]["classes"] = classes
    record["evaluation"]["confusion"] = [row[:3] for row in record["evaluation"]["confusion"][:3]]
    for photo in record["evaluation"]["worst"]:
        photo |= {"label": name, "predicted": name, "file": f"test/{name}/1.jpg"}
    # WHEN its report is made
    page = render(record)
    # THEN it is whole, can be written, and a browser finds nothing in it but text
    page.encode()
    outline = Outline(page)
    assert outline.open == []
    assert outline.tags.count("svg") == 12
    assert "script" not in outline.tags
    assert not set(page) & {chr(code) for code in range(32)} - {"\n"}
    svg = charts.confusion(RunRecord.from_json(record).evaluation)
    labels = [html.unescape(each) for each in re.findall(r">([^<>]+)</text>", svg)]
    assert labels.count(charts.tick_label(name)) == 2
    assert "var(" not in "".join(labels)
    assert f"<bdi>{html.escape(charts.short_label(name), quote=True)}</bdi>" in page.replace("&#34;", "&quot;")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("017.Alaskan_malamute", "Alaskan malamute"),
        ("_", "_"),
        ("001.", "001."),
        (" ", "�"),
        ("two\nlines", "two lines"),
        ("a\x00b", "a�b"),
        (r"$\frac{a}$", r"$\frac{a}$"),
    ],
)
def test_how_a_class_is_called(name, label):
    assert charts.short_label(name) == label


def test_a_long_name_leaves_room_for_the_chart():
    assert charts.tick_label("W" * 255) == "W" * 27 + "…"
    assert charts.tick_label("017.Alaskan_malamute") == "Alaskan malamute"


def test_learning_rates_are_written_in_three_significant_digits():
    record = copy.deepcopy(RECORD)
    record["tuning"]["trials"][0]["hyperparameters"] |= {
        "learning-rate": "0.0031622776601683795",
        "batch-size": "1024",
        "head": "hidden",
        "weight-decay": "1.23456e-05",
        "epochs": "8",
    }
    page = render(record)
    for cell in ("0.00316", "1024", "hidden", "0.0000123", "8"):
        assert f'<td class="n">{cell}</td>' in page
    assert "0.0031622776601683795" not in page


@pytest.mark.parametrize(
    ("probabilities", "heading", "words"),
    [
        ([0.41, 0.55], "Least sure of on the test photos", ["right, but unsure", "right, but unsure"]),
        ([0.55, 1.0], "Least sure of on the test photos", ["right, but unsure"]),
        ([0.9991, 1.0], "", []),
    ],
)
def test_a_model_that_is_right_about_every_photo_is_not_called_wrong_or_unsure(probabilities, heading, words):
    record = copy.deepcopy(RECORD)
    photos = record["evaluation"]["worst"][: len(probabilities)]
    for photo, probability in zip(photos, probabilities, strict=True):
        photo |= {"predicted": photo["label"], "probability": probability}
    record["evaluation"]["worst"] = photos
    page = render(record)
    assert "Most wrong" not in page
    assert heading in page
    assert re.findall(r'<span class="guess">([^<]*)</span>', page) == words
    assert ("is right about every test photo, and sure of it" in page) == (not words)


def test_photos_that_were_taken_for_something_else_are_called_most_wrong():
    record = copy.deepcopy(RECORD)
    record["evaluation"]["worst"][0] |= {"label": "001.A", "predicted": "002.B", "probability": 0.02}
    page = render(record)
    assert "<h3>Most wrong on the test photos</h3>" in page
    assert '<span class="guess">taken for <bdi>B</bdi></span>' in page


def test_lists_are_set_with_a_space_after_each_comma():
    page = render(RECORD)
    assert re.search(r"\d+ train, \d+ valid, \d+ test<", page)
    assert re.search(r"</bdi>, <bdi>", page)


def test_a_release_alone_is_a_short_page():
    parts = ("dataset", "tuning", "training", "evaluation", "endpoint", "autoscaling", "lambda", "load_test", "verdict")
    alone = render(RECORD | dict.fromkeys((*parts, "model")))
    assert 'class="failed brief"' in alone
    assert "This run deploys a model that another one trained" in alone
    assert 'brief"' not in render(RECORD)
    stopped = render(RECORD | dict.fromkeys((*parts, "model", "release", "approval")))
    assert ' brief"' in stopped  # a rehearsal that went no further than its parity
    whole = render(RECORD | {"release": RECORD["release"] | {"cost_usd": 0.123}})
    assert "The instances that were there for it cost $0.123." in whole


def test_the_report_shows_what_rules_found_and_what_was_done_about_it():
    page = render(RECORD)
    section = page[page.index('<section id="diagnostics">') : page.index('<section id="quality">')]
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", section, flags=re.DOTALL)))

    assert "an estimated 54 s of instances" in text  # of the trial, too
    assert "DeadRelu in 1, WeightUpdateRatio in 1 of 1; 1 of them ended early by a rule." in text
    assert "lr 0.1 instead of 1 , since WeightUpdateRatio" in text or "lr 0.1 instead of 1, since" in text
    assert "9 of 10 epochs were not trained" in text
    assert "WeightUpdateRatio IssuesFound step 1, epoch 1 62.1 10 retry the job was stopped; it was run again" in text
    assert "Stopped, without anything to look at: SaturatedActivation (the head, which alone is trained, has" in text
    assert "No rule found anything." in text
    assert "Looked, and found nothing: ExplodingTensor." in text
    # The moments are in the drawings, and a run without the part says nothing of it.
    assert section.count(">WeightUpdateRatio</text>") == 1
    assert "diagnostics" not in render(RECORD | {"diagnostics": None})


def test_curves_of_a_loss_that_is_no_number_are_drawn_as_far_as_they_are_numbers():
    job = RunRecord.from_json(RECORD).diagnostics.jobs[1]
    step = job.steps[0].replace(loss=None, gradient_mean=None, update_ratio=None)

    assert "mathdefault" not in diagnostics_charts.curves(job)
    assert "<svg" in diagnostics_charts.curves(job.replace(steps=[step], epochs=[], steps_per_epoch=None))
    assert diagnostics_charts.curves(job.replace(steps=[], epochs=[])) is None
