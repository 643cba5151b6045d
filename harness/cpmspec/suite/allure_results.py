"""What Allure shows of a case: requirement ids as tags, and after the closing its verdict, ladder and capture.

allure-pytest writes the result of a case as soon as it has run; the closing then completes that file, so that there is
one result with the final verdict.
"""

from __future__ import annotations

import importlib
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cpmspec.evidence.pcapng import TRACE_NAME, read
from cpmspec.evidence.trace import Frame, Kind, Trace
from cpmspec.judge.verdict import Verdict
from cpmspec.suite.spec import CaseSpec

#: the label by which the result of a case is found again
CASE_LABEL = "cpmspec_case"

STATUS = {
    Verdict.PASS: "passed", Verdict.NONE: "skipped", Verdict.INCONC: "broken", Verdict.FAIL: "failed",
    Verdict.ERROR: "broken",
}  # fmt: skip


def folder_of(config: pytest.Config) -> Path | None:
    """Where Allure's results go; ``None`` if they are not asked for."""
    folder = getattr(config.option, "allure_report_dir", None)
    return Path(folder).resolve() if folder and config.pluginmanager.has_plugin("allure_listener") else None


def label(config: pytest.Config, spec: CaseSpec) -> None:
    """Give the running test its labels: the case's id and the requirements of its purpose."""
    if folder_of(config) is None:
        return
    dynamic: Any = importlib.import_module("allure").dynamic  # untyped, and only where it is asked for
    dynamic.label(CASE_LABEL, spec.id)
    dynamic.label("requirement", *spec.purposes)
    dynamic.tag(*spec.purposes)
    dynamic.title(f"{spec.id}: {spec.title}")
    dynamic.description(spec.purpose)


def finish(config: pytest.Config, line: Mapping[str, Any], out: Path) -> None:
    """Complete the result of a case with its final verdict, the ladder and the capture."""
    folder = folder_of(config)
    if folder is None:
        return
    for path in folder.glob("*-result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        labels = result.get("labels", ())
        if any(entry["name"] == CASE_LABEL and entry["value"] == line["case"] for entry in labels):
            _complete(path, result, line, out)
            return


def _complete(path: Path, result: dict[str, Any], line: Mapping[str, Any], out: Path) -> None:
    folder = path.parent
    evidence = out / line["evidence"]
    trace = read(evidence)
    result["status"] = STATUS[Verdict(line["verdict"])]
    if line["verdict"] != Verdict.PASS:
        result["statusDetails"] = {"message": f"{line['verdict']}: {line['reason']}"}
    verdict = json.dumps({key: line[key] for key in ("case", "verdict", "reason", "blame", "judgement")}, indent=1)
    result["labels"] = [*result.get("labels", ()), {"name": "verdict", "value": line["verdict"]}]
    result["attachments"] = [
        *result.get("attachments", ()),
        _attach_text(folder, "verdict", verdict, "application/json", "json"),
        _attach_text(folder, "ladder", ladder(trace), "text/plain", "txt"),
        _attach_file(folder, "capture (pcapng)", evidence / TRACE_NAME),
    ]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)


def _attach_text(folder: Path, name: str, text: str, kind: str, extension: str) -> dict[str, str]:
    source = f"{uuid.uuid4()}-attachment.{extension}"
    (folder / source).write_text(text, encoding="utf-8")
    return {"name": name, "source": source, "type": kind}


def _attach_file(folder: Path, name: str, path: Path) -> dict[str, str]:
    source = f"{uuid.uuid4()}-attachment.pcapng"
    shutil.copyfile(path, folder / source)
    return {"name": name, "source": source, "type": "application/vnd.tcpdump.pcap"}


def ladder(trace: Trace) -> str:
    """The messages of a trace as text, one line for each: number, seconds since the first, PCO, direction, start."""
    if not trace.frames:
        return "(nothing was sent)\n"
    first = trace.frames[0].time_us
    return "".join(
        f"{frame.number:>5} {(frame.time_us - first) / 1e6:>10.6f} {frame.pco:<5} "
        f"{frame.sender:>10} -> {frame.receiver:<10} {frame.transport:<3} {_start(frame)}\n"
        for frame in trace.frames
    )


def _start(frame: Frame) -> str:
    if frame.kind is not Kind.DATA:
        return f"({frame.kind.value})"
    start = frame.octets.split(b"\r\n", 1)[0][:100].decode("utf-8", "backslashreplace")
    return start if start.isprintable() else f"({len(frame.octets)} octets)"
