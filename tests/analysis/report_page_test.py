"""The report's page in an HTML parser and in a browser."""

import collections
import html.parser
import json
import re
import shutil

import numpy as np
import pytest
from da_jax.configs import resnet8x4
from PIL import Image

from da_jax.analysis.report.page import create_page
from da_jax.analysis.report.pictures import attachments
from da_jax.analysis.report.runs import read_runs
from da_jax.analysis.report.table import rows
from tests.run_folders import make_run


class Page(html.parser.HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags = collections.defaultdict(list)
        self.texts = collections.defaultdict(str)
        self.open = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags[tag].append(attributes)
        self.open.append(attributes.get("id"))
        if tag in ("meta", "link", "img", "br", "wbr"):
            self.open.pop()

    def handle_startendtag(self, tag, attributes):
        self.tags[tag].append(dict(attributes))

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1]:
            self.texts[self.open[-1]] += data

    def check(self):
        """Ids are unique, nothing is loaded, every picture has a text."""
        assert not self.open
        attributes = [each for tag in self.tags.values() for each in tag]
        ids = [each["id"] for each in attributes if "id" in each]
        assert len(set(ids)) == len(ids)
        for each in attributes:
            assert each.get("src", "data:image/").startswith("data:image/")
            for name in each.get("aria-labelledby", "").split():
                assert self.texts[name].strip(), name
        assert [each["href"] for each in self.tags["link"]] == ["data:,"]
        for link in self.tags["a"]:
            assert link["href"].startswith("https://") or link["href"][1:] in ids
        assert len(self.tags["script"]) == 1 and "src" not in self.tags["script"][0]
        for svg in self.tags["svg"]:
            assert "aria-hidden" in svg or (
                svg["role"] == "img" and svg["aria-labelledby"]
            )
        assert all(picture["alt"] for picture in self.tags["img"])


PICTURE_TEXTS = {
    "figures": {"tsne.png": {"alt": "Clouds of <b>points</b>."}},
    "pictures": [
        {"part": "gallery", "file": "gallery_2.png", "title": "Two", "alt": "A cat."}
    ],
}
ROBUSTNESS = {
    "dataset": "cifar100",
    "budgets": [0.5, 1],
    "attacks": {"da": {"pgd": [70.25, 3.5], "fgsm": [71, 9]}, "kd": {"pgd": [60, 1]}},
    "students": [{"name": "da", "top1": 74.0}, {"name": "kd", "top1": 73.0}],
}


@pytest.fixture
def everything(tmp_path):
    """Runs of all kinds, one with pictures and one named like a script."""
    folders = [
        make_run(tmp_path / "kd", num_seeds=3, epochs=90, num_epochs=90),
        make_run(
            tmp_path / "da", resnet8x4.get_config(), epochs=90, num_epochs=90, seed=5
        ),
        make_run(
            tmp_path / "<script>alert(1)",
            **{"seed": 4, "epochs": 20, "num_epochs": 90, "finished": False},
        ),
        tmp_path / "missing & lost",
    ]
    pictures = folders[1] / "visualize"
    pictures.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (900, 2400, 3), np.uint8)
    Image.fromarray(noise).save(pictures / "gallery_10.png")
    Image.fromarray(noise[:40, :60]).save(pictures / "gallery_2.png")
    Image.fromarray(noise[:50, :70]).save(pictures / "tsne.png")
    (pictures / "per_class.png").write_bytes((pictures / "tsne.png").read_bytes()[:900])
    (pictures / "visualize.json").write_text(json.dumps(PICTURE_TEXTS))
    robustness = folders[1] / "robustness"
    robustness.mkdir()
    (robustness / "robustness.json").write_text(json.dumps(ROBUSTNESS))
    return folders


def test_the_page_names_all_and_brings_all_along(everything):
    runs = read_runs(everything)
    text = create_page(runs, rows(runs))
    page = Page(text)
    page.check()
    assert "<script>alert(1)" not in text and "&lt;script&gt;alert(1)" in text
    assert "missing &amp; lost" in text
    assert "Content-Security-Policy" in text and "default-src &#39;none&#39;" in text
    pictures = page.tags["img"]
    assert [(picture["alt"], picture["width"]) for picture in pictures] == [
        ("Clouds of <b>points</b>.", "70"),
        ("A cat.", "60"),
        ("gallery 10", "1600"),  # shrunk
    ]
    assert "per_class.png can&#39;t be read" in text and ">Two</figcaption>" in text
    assert sum(len(picture["src"]) for picture in pictures) < 2_000_000
    assert re.search(r"70\.25</td><td[^>]*>3\.50</td>", text)
    body = text[text.index("<body>") : text.index("<script>")]
    assert "{" not in re.sub("<[^>]*>", "", body)  # no JSON


def test_no_picture_makes_the_report_fail(tmp_path):
    folder = tmp_path / "visualize"
    folder.mkdir()
    rng = np.random.default_rng(0)
    file = folder / "tsne.png"
    Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(file)
    whole = file.read_bytes()
    remarks = 0
    for _ in range(300):
        content = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        file.write_bytes(content)
        (attachment,) = attachments(tmp_path)
        assert len(attachment.pictures) + len(attachment.remarks) == 1
        remarks += len(attachment.remarks)
    assert remarks > 100
    (folder / "visualize.json").write_text("[" * 10_000)
    assert "visualize.json is damaged" in attachments(tmp_path)[0].remarks[0]


def test_the_page_tells_what_an_augmentation_brings(tmp_path):
    folders = [
        make_run(tmp_path / "da", resnet8x4.get_config(), seed=1),
        make_run(tmp_path / "kd"),
        make_run(tmp_path / "DKD", resnet8x4.get_config("DKD")),
    ]
    runs = read_runs(folders)
    text = create_page(runs, rows(runs))
    compared = re.search('<table class="differences".*?</table>', text, re.DOTALL)
    names = re.findall(r'class="method">(.*?)<', compared[0])
    means = re.findall(r'class="mean">(.*?)<', compared[0])
    assert names == ["KD + DA − KD", "DKD + DA − KD + DA"]
    assert means == ["+0.70", "+0.70", "−0.70", "−0.70"]  # best and last of each
    assert compared[0].count("a single seed") == 4
    differing = re.findall(r"<code>([\w.]+)</code></th><td>(.*?)</td><td>(.*?)<", text)
    assert ("augmentation", "disagreement", "none") in differing
    assert ("seed", "1", "0") in differing
    assert not [name for name, *_ in differing if name.startswith("optimizer")]
    folded = re.search(r"settings in common(.*?)</details>", text, re.DOTALL)
    assert "<dt>optimizer.decay_epochs</dt><dd>150, 180, 210</dd>" in folded[1]
    assert "AT.power" not in text  # of a method that no run uses


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
IN_ORDER = "rows => rows.map(row => row.cells[1].innerText)"
SIZES = """svgs => svgs.map(svg => {
    const box = svg.getBBox();
    const lines = [...svg.querySelectorAll("path.line")];
    return [box.width, box.height, ...lines.map(line => line.getTotalLength())];
})"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox"],  # root has none
        )
        yield opened
        opened.close()


@pytest.fixture
def report(everything, tmp_path):
    runs = read_runs(everything)
    file = tmp_path / "report.html"
    file.write_text(create_page(runs, rows(runs)))
    return file


@pytest.fixture
def visit(browser, report):
    """Opens the report; it must log nothing and request nothing."""
    contexts, said, asked = [], [], []

    def go(width=1280, **options):
        options["viewport"] = {"width": width, "height": 800}
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert not said
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}


def test_everything_is_drawn(visit):
    page = visit()
    sizes = page.eval_on_selector_all("svg[role=img]", SIZES)
    assert len(sizes) == 8
    for width, height, *lengths in sizes:
        assert width > 300 and height > 150 and lengths and min(lengths) > 20
    pictures = "pictures => pictures.map(picture => picture.naturalWidth)"
    assert page.eval_on_selector_all("img", pictures) == [70, 60, 1600]
    chart = page.locator("svg[role=img]").first
    assert "Test accuracy" in chart.aria_snapshot()


def test_a_heading_sorts_the_table_by_click_and_by_key(visit):
    page = visit()
    body = page.locator("#results tbody tr")
    best = page.locator("#results th", has_text="Best")
    at_first = body.evaluate_all(IN_ORDER)
    assert at_first == ["74.70 ± 0.70", "77.50", "76.80", "–"]
    best.locator("button").click()
    assert body.evaluate_all(IN_ORDER) == ["74.70 ± 0.70", "76.80", "77.50", "–"]
    assert best.get_attribute("aria-sort") == "ascending"
    best.locator("button").press("Enter")
    assert body.evaluate_all(IN_ORDER) == ["77.50", "76.80", "74.70 ± 0.70", "–"]
    assert best.get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="Method").first.click()
    assert best.get_attribute("aria-sort") is None
    names = body.locator(".method").all_inner_texts()
    assert names == ["KD", "KD", "KD + DA"]


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(visit, width):
    page = visit(width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for details in page.locator("summary").all():
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth") == width


IN_VIEW = """table => {
    const frame = table.parentElement.getBoundingClientRect();
    return [...table.rows].flatMap(row => [1, 2].map(column => {
        const box = row.cells[column].getBoundingClientRect();
        return frame.left <= box.left && box.right <= frame.right + 1;
    }));
}"""


@pytest.mark.parametrize("width", [390, 1280])
def test_best_and_last_accuracy_need_no_scrolling(visit, width):
    page = visit(width)
    for table in ("table.results", "table.differences"):
        seen = page.eval_on_selector(table, IN_VIEW)
        assert len(seen) > 2 and all(seen)
    headings = page.locator("table.results th button").all_inner_texts()
    assert [heading.split(",")[0] for heading in headings[1:3]] == ["Best", "Last"]
    if width == 1280:
        wide = "table => table.scrollWidth - table.parentElement.clientWidth"
        assert page.eval_on_selector("table.results", wide) <= 0


CONTRAST = """() => {
    const light = (color) => {
        const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
            const value = part / 255;
            return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const style = (selector) => getComputedStyle(document.querySelector(selector));
    const contrast = (one, two) => {
        const [dark, bright] = [light(one), light(two)].sort((a, b) => a - b);
        return (bright + 0.05) / (dark + 0.05);
    };
    const card = style(".chart").backgroundColor;
    const texts = ["td", ".note", ".good", ".open", ".bad", ".chart text"];
    return {
        page: light(style("body").backgroundColor),
        texts: texts.map((text) => contrast(style(text).fill !== "rgb(0, 0, 0)"
            ? style(text).fill : style(text).color, card)),
        lines: [0, 1, 2].map((n) => contrast(style(`.line.series${n}`).stroke, card)),
    };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_lines_stand_out_by_day_and_by_night(visit, scheme):
    """WCAG's contrast is at least 4.5 for texts and 3 for lines."""
    found = visit(color_scheme=scheme).evaluate(CONTRAST)
    assert found["page"] > 0.8 if scheme == "light" else found["page"] < 0.1
    assert min(found["texts"]) >= 4.5 and min(found["lines"]) >= 3, found
