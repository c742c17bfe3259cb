import csv
import io
import math
import random
import re
import subprocess
import zlib
from functools import cached_property
from pathlib import Path

import pytest
from evidence import evidence

from nodebench.errors import BadInput
from nodebench.reporting.drawing import Drawing
from nodebench.reporting.questions import QUESTIONS
from nodebench.reporting.site import report
from nodebench.reporting.writers import WRITERS, html, latex, markdown, write
from nodebench.spec import Preset, Record, Status
from nodebench.tasks import find_task

HOSTILE = "<script>alert(1)</script> & \\input{x} | `y` _z_"
ASKED = {address for question in QUESTIONS for _, address in question.links}
FILES = re.compile(r'(?:href|src)="([^"#]+)"')


# What study memory asks of the spiral.
MEMORY = {"epochs": 1, "steps_per_epoch": 2}
SPIRAL = find_task("toy/spiral").presets[Preset.QUICK].model_dump(mode="json")


def records() -> list[Record]:
    """A few records of two studies: Table 1 on five seeds, memory by gradient, and a failure that is up to no good."""
    known = []
    table = {"study": "table1", "groups": ("table",), "task": "mnist", "dataset": "mnist-5k"}
    options = {"epochs": 3, "train_images": 4000}
    for seed in range(5):
        for model, error in (("odenet", 5.0), ("resnet", 5.2), ("resnet-1", 5.1), ("no-block", 15.0)):
            solve = {"rtol": 1e-3, "atol": 1e-3} if model == "odenet" else dict.fromkeys(("solver", "rtol", "atol"))
            gradient = "adjoint" if model == "odenet" else None
            known.append(
                evidence(
                    seed,
                    **table,
                    **solve,
                    model=model,
                    gradient=gradient,
                    options=options,
                    metrics={
                        "test_error": error + 0.1 * (seed % (2 if "resnet" in model else 3)),
                        "parameters": 208_266,
                    },
                    history=[{"epoch": float(e), "nfe_probe": 20.0 + 6 * e} for e in range(4)],
                )
            )
        for gradient in ("direct", "adjoint"):
            for i in range(4):
                bytes_ = 1e4 * 2**i if gradient == "direct" else 1e4
                known.append(
                    evidence(
                        seed,
                        study="memory",
                        groups=("steps",),
                        solver="rk4",
                        rtol=None,
                        atol=None,
                        step_size=0.126 / 2**i,
                        gradient=gradient,
                        overrides=MEMORY,
                        options=SPIRAL | MEMORY,
                        costs={"nfe_forward": 36.0 * 2**i, "tensor_peak_bytes": bytes_, "step_seconds": 0.01 * 2**i},
                    )
                )
    failed = evidence(9, study="memory", groups=("steps",), status=Status.TIMEOUT, model=HOSTILE[:25])
    assert failed.failure is not None
    return [*known, failed.model_copy(update={"failure": failed.failure.model_copy(update={"message": HOSTILE})})]


@pytest.fixture(scope="module")
def pages():
    return report(records(), lambda _: {})[0]


@pytest.fixture(scope="module")
def files(pages):
    return {name: writer(pages) for name, writer in WRITERS.items()}


def test_the_same_records_in_any_order_give_the_same_bytes(files):
    shuffled = records()
    random.Random(0).shuffle(shuffled)
    again, _ = report(shuffled, lambda _: {})
    for name, writer in WRITERS.items():
        assert writer(again) == files[name]


def test_what_a_record_says_is_text(files):
    pages = b"".join(content for name, content in files["html"].items() if name.endswith((".html", ".svg")))
    assert b"<script>alert" not in pages
    assert b"&lt;script&gt;alert(1)&lt;/script&gt;" in pages
    assert b"<script>" not in b"".join(files["md"].values())
    tex = b"".join(content for name, content in files["latex"].items() if name.endswith(".tex"))
    assert b"\\input{x}" not in tex
    assert b"\\textbackslash{}input\\{x\\}" in tex


def test_every_link_leads_to_a_file_and_nothing_is_fetched(files):
    for name, content in files["html"].items():
        if not name.endswith(".html"):
            continue
        for target in FILES.findall(content.decode()):
            assert target in files["html"] or target in ASKED, f"{name} links to {target}"
    for name, content in files["md"].items():
        for target in re.findall(r"\]\(([^)#]+)\)", content.decode()) if name.endswith(".md") else ():
            assert target in files["md"] or target in ASKED, f"{name} links to {target}"


def test_every_figure_says_what_it_shows_and_how_many_replicates(pages, files):
    charts = [chart for page in pages for chart in page.charts]
    assert {"study-memory-steps", "claim-memory-constant-paper-1"} <= {
        c.name if c.name.startswith("claim") else f"study-{c.name}" for c in charts
    }
    for chart in charts:
        assert re.search(r"\bn = \d", chart.caption)
        assert len(chart.alt) > 40
        assert f"figures/{chart.name}.svg" in files["html"]
        assert files["latex"][f"latex/{chart.name}.pdf"].startswith(b"%PDF")
    html_text = b"".join(files["html"].values())
    assert html_text.count(b'role="img"') == len(charts)


def test_ids_of_drawings_on_one_page_differ(files):
    for name, content in files["html"].items():
        if name.endswith(".html"):
            drawn = re.findall(r"<svg.*?</svg>", content.decode(), flags=re.S)
            ids = [set(re.findall(r'<clipPath id="(p[^"]+)"', svg)) for svg in drawn]
            assert len(set().union(*ids)) == sum(map(len, ids))


def test_tables_are_whole_in_markdown(files):
    for content in files["md"].values():
        for table in re.findall(r"(?:^\|.*\n)+", content.decode(errors="ignore"), flags=re.M):
            cells = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
            assert len(cells) == 1


def test_the_first_page_has_a_line_for_each_claim_with_its_verdict(pages, files):
    rows = list(csv.DictReader(io.StringIO(files["csv"]["data/verdicts.csv"].decode())))
    verdicts = {(row["claim"], row["scope"]): row["verdict"] for row in rows}
    assert verdicts["memory-constant", "paper"] == "inconclusive"  # of its two conditions only the spiral was measured
    assert verdicts["mnist-parity", "default"] == "not tested"  # no MLP to be competent against
    page = files["html"]["claim-memory-constant.html"]
    assert b'<span class="verdict supported">supported</span>' in page
    assert b"(home)" in page


def test_the_picture_of_all_claims_leads_to_their_pages(files):
    page = files["html"]["index.html"].decode()
    picture = page[page.index("<svg") : page.index("</svg>")]
    linked = re.findall(r'<a xlink:href="([^"]+)">', picture)
    assert "claim-memory-constant.html" in linked
    assert set(linked) <= files["html"].keys()


def test_published_values_stand_beside_ours(files):
    rows = list(csv.DictReader(io.StringIO(files["csv"]["data/study-table1-mnist-mnist-5k.csv"].decode())))
    odenet = next(row for row in rows if row["model"] == "odenet")
    assert (float(odenet["test error"]), float(odenet["test error, published"])) == (5.1, 0.42)


def test_the_memory_page_says_from_where_the_adjoint_pays(files):
    page = files["html"]["study-memory.html"].decode()
    # Equal at 36 and less from there on, as planted.
    assert "The adjoint needs less memory than direct if the number of evaluations is at least 36, measured " in page
    assert "is at least 36, measured from 36 to 288; at 288 it costs 1 × the time (n = 5)." in page
    changed = next(content for name, content in files["html"].items() if name.startswith("study-memory-not-as-shipped"))
    assert b"timeout" in changed


def test_latex_tables_have_rules_and_a_caption(files):
    tex = files["latex"]["latex/verdicts.tex"].decode()
    assert tex.count("\\toprule") == tex.count("\\bottomrule") == 1
    assert "\\caption{" in tex


def test_a_report_of_one_record_is_whole():
    pages, verdicts = report([evidence(study="toys", groups=("spiral",), options={"noise": 0.0})], lambda _: {})
    assert all(result.verdict == "not tested" for result in verdicts)
    for writer in (html, markdown, latex):
        assert writer(pages)


def test_names_in_records_lead_nowhere_else():
    names = {"study": "a/..b/.../x", "dataset": "[..x]", "task": "$..", "model": "<..>"}
    pages, _ = report([evidence(groups=("a",), **names)], lambda _: {})
    for writer in WRITERS.values():
        assert not any(".." in name for name in writer(pages))


COLLIDING = ["研究", "测试", "a b", "a-b", "a/b", "a", "a b-c"]


def test_no_two_pages_tables_or_figures_share_a_file():
    many = [evidence(study=name, task=task) for name in COLLIDING for task in ("b-c", "c", "b/c")]
    pages, _ = report(many, lambda _: {})
    own = [page for page in pages if page.title in COLLIDING]
    assert len({page.name.casefold() for page in pages}) == len(pages)
    assert len(own) == len(COLLIDING)
    blocks = [block.name for page in pages for block in (*page.tables, *page.charts)]
    assert len(set(blocks)) == len(blocks)
    made = html(pages)
    for page in own:
        assert page.name.startswith("study")
        assert f'href="{page.name}.html"'.encode() in made["index.html"]
        assert all(f"data/{table.name}.csv" in made for table in page.tables)


def test_a_study_keeps_the_file_of_its_page_whatever_others_there_are():
    alone, among = (
        next(
            page.name
            for page in report([evidence(study=name, task="mine") for name in names], lambda _: {})[0]
            if page.title == "研究"
        )
        for names in (["研究"], COLLIDING)
    )
    assert alone == among


UNSEEN = "\x1b[31m\x07\x9b\u202e\ufeff"


def test_no_invisible_character_and_no_formula_stands_in_a_report():
    failed = evidence(status=Status.TIMEOUT, study="mine", model="=1+1")
    failure = failed.failure.model_copy(update={"message": f"=1+1 {UNSEEN}\n\n\\input{{x}} ``a'' <<b>>"})
    pages, _ = report([failed.model_copy(update={"failure": failure}), evidence(study="mine")], lambda _: {})
    for writer in WRITERS.values():
        for name, content in writer(pages).items():
            if not name.endswith(".pdf"):
                assert not set(content.decode()) & set(UNSEEN) - set("[31m"), name
    rows = list(csv.reader(io.StringIO(WRITERS["csv"](pages)["data/study-mine-failures.csv"].decode())))
    assert rows[1][-1].startswith("'=1+1 \\x1b[31m")
    assert "'=1+1" in {
        cell for row in csv.reader(io.StringIO(html(pages)["data/study-mine-toy-spiral.csv"].decode())) for cell in row
    }
    tex = latex(pages)["latex/study-mine-failures.tex"].decode()
    assert (
        r"\textbackslash{}input\{x\} \textasciigrave{}\textasciigrave{}a'' \textless{}\textless{}b\textgreater{}" in tex
    )


def test_a_report_removes_only_what_a_report_has_written(tmp_path):
    pages, _ = report([evidence(study="toys")], lambda _: {})
    out, victim = tmp_path / "out", tmp_path / "victim.txt"
    victim.write_text("precious")
    write(markdown(pages) | html(pages), out)
    (out / "mine.txt").write_text("precious")
    write(markdown(pages), out)
    assert not (out / "index.html").exists()
    assert (out / "mine.txt").read_text() == "precious"
    for name in (
        "../victim.txt",
        str(victim),
        "mine.txt",
        "data/../../victim.txt",
        "figures/x.svg/..",
        "README.md",
        "a\0",
    ):
        (out / "files.txt").write_text(f"index.md\n{name}\n")
        with pytest.raises(BadInput, match="which is not a file of a report"):
            write(markdown(pages), out)
        assert victim.read_text() == (out / "mine.txt").read_text() == "precious"
        assert (out / "index.md").exists()


@pytest.mark.parametrize("name", ["index.md", "files.txt", "figures", "figures/new.svg"])
def test_a_report_is_not_written_through_a_link(tmp_path, name):
    files = {"index.md": b"new", "figures/new.svg": b"new"}
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    write({"index.md": b"old", "figures/old.svg": b"old"}, out)
    if name == "figures":
        (out / "figures").rename(elsewhere)
    else:
        elsewhere.write_text("index.md\nfigures/old.svg\n")
        (out / name).unlink(missing_ok=True)
    (out / name).symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(BadInput):
        write(files, out)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_file_that_no_report_has_written_is_not_overwritten(tmp_path):
    write({"index.md": b"old"}, tmp_path / "out")
    (tmp_path / "out" / "method.md").write_text("mine")
    with pytest.raises(BadInput, match=r"'method\.md' that is not from a report"):
        write({"index.md": b"new", "method.md": b"new"}, tmp_path / "out")
    assert (tmp_path / "out" / "method.md").read_text() == "mine"


def test_the_command_leaves_a_folder_alone_that_is_no_report(nodebench, tmp_path):
    run = tmp_path / "results" / "a-run"
    run.mkdir(parents=True)
    (run / "records.jsonl").write_text(evidence(study="toys").line() + "\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    code, _, err = nodebench("report", "--out", "mine")
    assert (code, err.count("\n")) == (2, 1)
    assert "contains something other than a report" in err
    assert (tmp_path / "mine" / "thesis.tex").exists()
    for _ in range(2):
        code, out, _ = nodebench("report", "--format", "md")
        assert (code, out.strip().endswith("reports/latest/index.md")) == (0, True)
    assert nodebench("report", "--format", "pdf")[0] == 2
    assert "no record in" in nodebench("report", "--results", "mine")[2]


def test_the_command_leaves_published_records_out_of_the_users_own(nodebench, tmp_path):
    for folder, seeds in (("mine", range(2)), ("published/theirs", range(3))):
        run = tmp_path / "results" / folder
        run.mkdir(parents=True)
        (run / "records.jsonl").write_text("".join(evidence(seed, study="toys").line() + "\n" for seed in seeds))
    reports = {}
    asked = {"own": (), "both": ("--with-published",), "theirs": ("--results", "results/published")}
    for name, arguments in asked.items():
        code, out, err = nodebench("report", "--format", "md", "--out", name, *arguments)
        assert (code, err) == (0, "")
        reports[name] = (out, (tmp_path / name / "study-toys.md").read_text())
    assert "from 2 records" in reports["own"][0]
    assert "results/published is left out; include it with --with-published" in reports["own"][0]
    assert "2 trials" in reports["own"][1]
    assert "published records" not in reports["own"][1]
    assert "from 2 records" in reports["both"][0]
    assert "**Records**: 2 trials" in reports["both"][1]
    assert "**Published records**: 3 trials" in reports["both"][1]
    assert "from 3 records" in reports["theirs"][0]
    (tmp_path / "results" / "mine" / "records.jsonl").unlink()
    assert "from 3 records" in nodebench("report", "--format", "md", "--out", "alone")[1]


NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)")
CLIP = re.compile(r"\bp[0-9a-f]{10}\b")  # Matplotlib names a clip path by a hash of its place


def same_content(made: str, kept: str) -> bool:
    """Whether two pages have the same words, and numbers that differ by no more than the last bits of a processor."""
    if made == kept:
        return True
    made_parts, kept_parts = (NUMBER.split(CLIP.sub("", page)) for page in (made, kept))
    return made_parts[::2] == kept_parts[::2] and all(
        a == b or math.isclose(float(a), float(b), rel_tol=1e-6, abs_tol=2e-6)
        for a, b in zip(made_parts[1::2], kept_parts[1::2], strict=True)
    )


@pytest.mark.parametrize(
    ("kept", "same"),
    [
        ('x="2.000001" clip-path="url(#p0123456789)"', True),
        ('x="2.1" clip-path="url(#pabcdef0123)"', False),
        ('y="2" clip-path="url(#pabcdef0123)"', False),
    ],
)
def test_content_is_words_and_numbers(kept, same):
    assert same_content('x="2.0" clip-path="url(#pabcdef0123)"', kept) is same


ROOT = Path(__file__).parents[2]
LEFT_OUT = "<svg data-left-out"
SVG = re.compile(r"<svg.*?</svg>", re.S)


def draw_one_in_eight(patch: pytest.MonkeyPatch) -> None:
    """Leave the other charts out of a report: to draw them takes longer than the rest of it."""
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    real = Drawing.svg.func

    def svg(self: Drawing) -> str:
        return f"{LEFT_OUT}></svg>\n" if zlib.crc32(f"{commit} {self.name}".encode()) % 8 else real(self)

    patched = cached_property(svg)
    patched.__set_name__(Drawing, "svg")
    patch.setattr(Drawing, "svg", patched)


def without_left_out(made: str, kept: str) -> tuple[str, str]:
    """Two pages without the charts that the first one leaves out."""
    drawn = SVG.findall(made)
    if len(drawn) != len(SVG.findall(kept)):
        return made, kept
    left_out = [chart.startswith(LEFT_OUT) for chart in drawn]

    def shown(page: str) -> str:
        each = iter(left_out)
        return SVG.sub(lambda chart: "" if next(each) else chart.group(), page)

    return shown(made), shown(kept)


@pytest.mark.parametrize(
    ("made", "same"),
    [
        ("a <svg>1</svg> b <svg data-left-out></svg>", True),
        ("a <svg>1</svg> c <svg data-left-out></svg>", False),
        ("a <svg>2</svg> b <svg data-left-out></svg>", False),
        ("a <svg data-left-out></svg> b <svg>1</svg>", False),
        ("a <svg>1</svg> b ", False),
    ],
)
def test_only_the_charts_that_are_left_out_are_not_compared(made, same):
    mine, theirs = without_left_out(made, "a <svg>1</svg> b <svg>2</svg>")
    assert (mine == theirs) is same


@pytest.mark.skipif(not (ROOT / "reports/published").is_dir(), reason="a package without the published report")
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_published_report_is_what_the_published_records_give(nodebench, monkeypatch, tmp_path, whole):
    """By day one chart in eight, each commit another one, and all that is written; by night all charts too."""
    if not whole:
        draw_one_in_eight(monkeypatch)
    readme, out = tmp_path / "README.md", tmp_path / "reports" / "published"
    readme.write_text((ROOT / "README.md").read_text())
    where = ["--results", str(ROOT / "results/published"), "--out", str(out), "--readme", str(readme)]
    code, _, err = nodebench("report", "--format", "html,md", *where)
    assert code == 0, err
    assert readme.read_text() == (ROOT / "README.md").read_text()
    made, kept = (
        {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
        for folder in (out, ROOT / "reports/published")
    )
    assert sorted(made) == sorted(kept)
    pages = [(name, *without_left_out(made[name].read_text(), kept[name].read_text())) for name in made]
    differ = [name for name, mine, theirs in pages if not same_content(mine, theirs)]
    assert differ == [], (
        "make it again: nodebench report --results results/published --out reports/published --format html,md"
    )
