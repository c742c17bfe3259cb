"""Croissant: machine-readable metadata of a table of records, in the format of MLCommons.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0.
"""

import hashlib
import json
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype

from nodebench.spec.axes import AXES
from nodebench.spec.metrics import METRICS

VERSION = "http://mlcommons.org/croissant/1.0"
_CR = "http://mlcommons.org/croissant/"
_PLAIN = (
    "citeAs",
    "equivalentProperty",
    "samplingRate",
    "column",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "separator",
    "source",
    "subField",
    "transform",
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": _CR,
    "rai": f"{_CR}RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{name: f"cr:{name}" for name in _PLAIN},
}


def croissant(table: pd.DataFrame, file: str, content: bytes, *, version: str, date: str) -> bytes:
    """Metadata of a Parquet file of records.

    Args:
        table: the table in the file.
        file: name of the file; the metadata must be stored next to it.
        content: content of the file.
        version: version of nodebench.
        date: date of the last record, ISO 8601.

    Returns:
        bytes: JSON-LD.
    """
    metadata = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "nodebench-records",
        "description": "Trials of Neural ODEs: what was run, and its accuracy, evaluations, times, memory and errors.",
        "conformsTo": VERSION,
        "citeAs": f"The nodebench authors: nodebench {version}",
        "license": "https://spdx.org/licenses/MIT.html",
        "version": version,
        "datePublished": date,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file,
                "name": file,
                "contentUrl": file,
                "encodingFormat": "application/x-parquet",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "records",
                "name": "records",
                "field": [_field(table, str(name), file) for name in table.columns],
            }
        ],
    }
    return (json.dumps(metadata, indent=1, ensure_ascii=False) + "\n").encode()


def _field(table: pd.DataFrame, name: str, file: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"records/{name}",
        "name": name,
        "description": about(name),
        "dataType": _type(table[name]),
        "source": {"fileObject": {"@id": file}, "extract": {"column": name}},
    }


def about(name: str) -> str:
    """Return the description of a column, with its unit."""
    if known := METRICS.get(name):
        return f"{known.label}: {known.about} (unit: {known.unit})"
    if name in AXES:
        return AXES[name].help
    if name.startswith("set."):
        return f"Option {name.removeprefix('set.')} of the task, where it differs from the preset."
    return _ABOUT.get(name, name.replace("_", " "))


_ABOUT = {
    "id": "Content id of the trial: equal trials have equal ids.",
    "status": "How the trial ended: ok, or the kind of its failure.",
    "started": "When the trial started, ISO 8601.",
    "passes_agree": "Whether evaluations and losses of the passes agree.",
    "field_traits": "Known properties of the vector field, for example that it is not smooth.",
    "drifted": "Whether the machine's speed changed during the trial, which makes its times unreliable.",
    "resumed": "How often the training resumed from a checkpoint.",
    "shared_cores": "Whether other trials ran at the same time.",
    "machine": "Processor, and number of cores.",
    "data_sha256": "Hash of the data.",
    "failure": "What went wrong, in one line.",
}


def _type(column: pd.Series) -> str:
    if is_bool_dtype(column):
        return "sc:Boolean"
    if is_integer_dtype(column):
        return "sc:Integer"
    return "sc:Float" if is_float_dtype(column) else "sc:Text"
