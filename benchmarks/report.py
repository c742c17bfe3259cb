"""Measure time and memory of a report on many records: copies of the published records with other seeds.

Run ``python benchmarks/report.py``; it prints one line of JSON.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from itertools import count
from pathlib import Path

from nodebench.api.report import report
from nodebench.store.run_folder import kept_records

PUBLISHED = Path(__file__).parents[1] / "results" / "published"


def copies(folder: Path, number: int) -> None:
    """Write ``number`` records, each with its own seed and id."""
    run = folder / "copies"
    run.mkdir()
    originals = kept_records(PUBLISHED)
    seeds = max(record.trial.seed for record in originals) + 1
    with (run / "records.jsonl").open("w") as file:
        written = 0
        for turn in count():
            for record in originals:
                trial = record.trial.model_copy(update={"seed": record.trial.seed + turn * seeds})
                file.write(record.model_copy(update={"trial": trial, "id": trial.id}).line() + "\n")
                written += 1
                if written == number:
                    return


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    number = parser.parse_args().records
    folder = Path(tempfile.mkdtemp())
    try:
        copies(folder, number)
        began = time.perf_counter()
        report(folder, out=folder / "report", formats=["html"])
        seconds = time.perf_counter() - began
    finally:
        shutil.rmtree(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"records": number, "seconds": round(seconds, 1), "process_peak_bytes": peak}))


if __name__ == "__main__":
    main()
