"""`fer-edge doctor`: is this machine able, and is this bundle whole?"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

_SIGN = {"ok": "ok  ", "note": "note", "bad": "BAD "}


def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle folder or .ferpack; flagship (by default) and tiny ship.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON and nothing else.")] = False,
) -> None:
    """Look over machine, engines, cameras and bundle; exit 0 when all is well, 1 when something is bad."""
    from fer_edge.edge_runtime.doctor import examine

    findings = []
    for finding in examine(bundle):
        findings.append(finding)
        if not as_json:
            fix = f"\n{'':6}fix: {finding.fix}" if finding.fix else ""
            print(f"{_SIGN[finding.state]}  {finding.subject}: {finding.text}{fix}", flush=True)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    bad = sum(finding.state == "bad" for finding in findings)
    if not as_json:
        print(f"{bad} of {len(findings)} findings are bad" if bad else "all is well")
    if bad:
        raise typer.Exit(1)
