"""Pages as files: HTML, Markdown, LaTeX with PDF, and CSV. The same pages give the same bytes."""

import csv
import io
import math
import os
import re
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nodebench.errors import BadInput, writing_to
from nodebench.escapes import for_spreadsheet, for_terminal, visible
from nodebench.paths import for_writing, is_regular, make_folder, remove_file, write_file
from nodebench.reporting.document import Cell, Page, Table

Files = dict[str, bytes]  # by path below the report's folder

# Lists the files of a report, which may be removed when the report is made again.
MANIFEST = "files.txt"

# Allowed names of files in a report; a manifest that lists any other name is rejected.
_OURS = re.compile(
    r"(?:index|questions|choice|method|amendments|(?:claim|study)-[\w-]+)\.(?:html|md)|style\.css|tables\.js|verdicts\.json"
    r"|figures/[\w-]+\.svg|latex/[\w-]+\.(?:tex|pdf)|data/[\w-]+\.csv",
    re.ASCII,
)
_MOST_BYTES = 10_000_000  # of a manifest

# A stand-alone SVG file also follows the reader's light or dark setting.
_STANDALONE = "<style>svg{color:#1b1b1f}@media(prefers-color-scheme:dark){svg{color:#e6e6ea}}</style>"


def html(pages: Sequence[Page]) -> Files:
    """Return the HTML site: pages, style sheet, script, plots, and the data of each table and plot."""
    environment = _environment(autoescape=True)
    template = environment.get_template("page.html.j2")
    files = {f"{page.name}.html": template.render(page=page, pages=pages).encode() + b"\n" for page in pages}
    templates = resources.files("nodebench.reporting") / "templates"
    files |= {name: (templates / name).read_bytes() for name in ("style.css", "tables.js")}
    return files | _figures(pages) | tables_csv(pages)


def markdown(pages: Sequence[Page]) -> Files:
    """Return the pages as Markdown, for a code host such as GitHub."""
    template = _environment(autoescape=False).get_template("page.md.j2")
    files = {}
    for page in pages:
        text = re.sub(r"\n{3,}", "\n\n", template.render(page=page, pages=pages))
        files[f"{page.name}.md"] = "\n".join(line.rstrip() for line in text.splitlines()).encode() + b"\n"
    return files | _figures(pages)


def latex(pages: Sequence[Page]) -> Files:
    """Return each table as LaTeX with booktabs, and each plot as PDF with a caption."""
    files: Files = {}
    for page in pages:
        for table in page.tables:
            files[f"latex/{table.name}.tex"] = _tex_table(table).encode()
        for chart in page.charts:
            files[f"latex/{chart.name}.pdf"] = chart.drawing.pdf()
            caption = f"\\caption{{{_tex(chart.caption)}}}\n\\label{{fig:{chart.name}}}\n"
            body = f"\\centering\n\\includegraphics[width=\\linewidth]{{{chart.name}.pdf}}\n{caption}"
            files[f"latex/{chart.name}.tex"] = f"\\begin{{figure}}\n{body}\\end{{figure}}\n".encode()
    return files


def tables_csv(pages: Sequence[Page]) -> Files:
    """Return the data of each table and each plot as CSV."""
    files: Files = {}
    for page in pages:
        for table in page.tables:
            rows = [[_plain(cell) for cell in row] for row in table.rows]
            files[f"data/{table.name}.csv"] = _csv(table.header, rows)
        for chart in page.charts:
            if chart.rows:
                files[f"data/{chart.name}.csv"] = _csv(chart.header, chart.rows)
    return files


WRITERS: dict[str, Callable[[Sequence[Page]], Files]] = {
    "html": html,
    "md": markdown,
    "latex": latex,
    "csv": tables_csv,
}


def write(files: Files, folder: Path) -> None:
    """Write the files of a report to a folder, in place of those of an earlier report.

    Only files that the manifest of an earlier report lists, under names that a report uses, are removed or
    overwritten. No symbolic link is followed.

    Raises:
        BadInput: the folder contains something other than a report, or cannot be written.
    """
    with writing_to(f"--out {folder}"):
        earlier = _earlier(folder)
        if found := next((n for n in sorted(files.keys() - earlier) if os.path.lexists(folder / n)), None):
            raise BadInput(f"--out {folder} contains a file '{found}' that is not from a report; choose another folder")
        for name in sorted(earlier | files.keys()):
            for_writing(folder, *name.split("/"))
        for name in sorted(earlier):
            remove_file(folder, *name.split("/"))
        make_folder(folder)
        write_file(folder, MANIFEST, content="".join(f"{name}\n" for name in sorted(files)).encode())
        for name, content in sorted(files.items()):
            *folders, _ = parts = name.split("/")
            make_folder(folder, *folders)
            write_file(folder, *parts, content=content)


def _earlier(folder: Path) -> set[str]:
    """Return the files that the manifest in a folder lists; none if the folder is empty or does not exist.

    Raises:
        BadInput: the folder contains something other than a report.
    """
    known = folder / MANIFEST
    if not os.path.lexists(known):
        if folder.exists() and any(folder.iterdir()):
            raise BadInput(f"--out {folder} contains something other than a report; choose another folder")
        return set()
    if not is_regular(known) or known.stat().st_size > _MOST_BYTES:
        raise BadInput(f"--out {folder}: its {MANIFEST} is not the manifest of a report; choose another folder")
    names = known.read_bytes().decode(errors="replace").splitlines()
    if strange := next((name for name in names if not _OURS.fullmatch(name)), None):
        raise BadInput(f"--out {folder}: {MANIFEST} in it lists '{strange}', which is not a file of a report")
    return set(names)


def _figures(pages: Sequence[Page]) -> Files:
    files: Files = {}
    for page in pages:
        for chart in page.charts:
            opening, rest = chart.drawing.svg.split(">", 1)
            files[f"figures/{chart.name}.svg"] = f"{opening}>{_STANDALONE}{rest}\n".encode()
    return files


def _environment(autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("nodebench.reporting"), autoescape=autoescape, undefined=StrictUndefined, finalize=_shown
    )
    environment.globals |= {"key_of": _key}
    environment.filters["md"] = markdown_text
    return environment


def _shown(value: object) -> object:
    """Return a value for a template: text with invisible characters escaped; SVG unchanged."""
    return for_terminal(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _key(cell: Cell) -> str:
    return f"{cell.key:.9g}" if isinstance(cell.key, float) else str(cell.key)


def markdown_text(text: object) -> str:
    """Escape text for Markdown and for HTML inside Markdown."""
    escaped = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", visible(" ".join(str(text).split())))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "∞": r"$\infty$",
    "μ": r"$\mu$",
    "Δ": r"$\Delta$",
    "‡": r"\ddag{}",
    "ŷ": r"$\hat y$",
    "ȳ": r"$\bar y$",
    "’": "'",
    "“": "``",
    "”": "''",
}


def _tex(text: str) -> str:
    """Escape text for LaTeX, on one line."""
    return "".join(_TEX.get(character, character) for character in visible(" ".join(text.split())))


def _tex_table(table: Table) -> str:
    rows = [[_tex(cell.text) for cell in row] for row in table.rows]
    styled = pd.DataFrame(rows, columns=[_tex(name) for name in table.header]).style.hide(axis="index")
    text: str = styled.to_latex(
        hrules=True,
        caption=f"{_tex(table.caption)}.",
        label=f"tab:{table.name}",
        position_float="centering",
        column_format="".join("r" if _is_number(table, i) else "l" for i in range(len(table.header))),
    )
    return text


def _is_number(table: Table, column: int) -> bool:
    """Whether every cell of a column is a number."""
    return bool(table.rows) and all(row[column].kind == "number" for row in table.rows)


def _plain(cell: Cell) -> object:
    """Return the value of a cell for a data file: the number if the cell has one, else the text."""
    if cell.kind != "number":
        return cell.text
    return "" if cell.key == math.inf else cell.key


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([for_spreadsheet(" ".join(name.split())) for name in header])
    for row in rows:
        writer.writerow([_csv_cell(value) for value in row])
    return text.getvalue().encode()


def _csv_cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.9g}"
    return for_spreadsheet(value) if isinstance(value, str) else value
