"""The step ``validate``: Great Expectations over the ingested shards, one result an expectation.

Its folder holds ``validation.json`` (every expectation with what was found, and the fix), ``failures.parquet`` (every
row that failed one) and, under ``logs/data_docs``, the Data Docs. Data that fails is no error of this step, so that its
results can be looked at: ``raise_on_failure`` is the gate.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.config import Config
from tracer.ingestion.quarantine import QUARANTINE, quarantined
from tracer.json_files import read_json, write_json
from tracer.lineage.step import read_lineage, run_step
from tracer.planner import hub
from tracer.planner.lora import holds_model
from tracer.planner.plan import PlannerSettings
from tracer.validation.step_table import KEYS, step_table
from tracer.validation.suite import Expectation, expectations

if TYPE_CHECKING:
    import pandas as pd

    from tracer.planner.length import PromptLength

log = logging.getLogger(__name__)
RESULTS = "validation.json"
FAILURES = "failures.parquet"
DATA_DOCS = "logs/data_docs"  # they carry the time of the run, and lineage does not hash logs/
EXAMPLES = 5


class ValidationFailed(ValueError):
    """Data that does not meet an expectation; the message names the files, the rows and the fix."""


def validate(config: Config, trajectories: Path, base: Path, out: Path) -> dict[str, Any]:
    """Check the shards of ``trajectories`` and write the results to ``out``; the folder's lineage.

    Prompts are measured in tokens of the planner in ``base``, if it is there. Raises ``DatasetError`` for a shard that
    cannot be read at all. Failed expectations do not raise.
    """

    def body(folder: Path) -> dict[str, Any]:
        counter = prompt_counter(config, base)
        table = step_table(Path(trajectories), counter, config.planner, counter.sees if counter else None)
        records = records_table(table, Path(trajectories))
        results = list(check(table, records, expectations(config, prompts=counter is not None), folder))
        _write_failures(results, folder / FAILURES)
        for result in results:
            del result["rows"]
        if counter is None:
            results.append(_not_applicable(config, base))
        failed = [result for result in results if not result["success"]]
        counts = {
            "rows": len(table),
            "trajectories": int(table["trajectory_id"].nunique()),
            "expectations": len(results),
            "errors": sum(result["severity"] == "error" for result in failed),
            "warnings": sum(result["severity"] == "warning" for result in failed),
        }
        write_json(folder / RESULTS, {"success": not counts["errors"], **counts, "results": results})
        return counts

    return run_step(out=out, body=body, **recipe(config, trajectories, base))


def recipe(config: Config, trajectories: Path, base: Path) -> dict[str, Any]:
    """What the digest of ``validate`` is made of, as ``run_step`` takes it."""
    return {
        "name": "validate",
        "config": {
            "max_quarantined": config.data.max_quarantined,
            "planner": config.planner.model_dump(mode="json"),
        },
        "inputs": {"trajectories": Path(trajectories)} | ({"base": base} if base.exists() else {}),
        "module": __name__,
    }


def raise_on_failure(folder: Path) -> None:
    """The gate: raises ``ValidationFailed`` if an expectation of severity ``error`` is not met; logs the warnings."""
    read_lineage(folder)
    missed = [result for result in read_json(folder / RESULTS, "results")["results"] if not result["success"]]
    for result in missed:
        if result["severity"] == "warning":
            log.warning("warning %s", explain(result).removeprefix("- "))
    failed = [result for result in missed if result["severity"] == "error"]
    if failed:
        raise ValidationFailed(
            "\n".join([f"{folder}: the data fails {len(failed)} expectations", *map(explain, failed)])
        )


def explain(result: dict[str, Any]) -> str:
    """A failed result in words: what was expected, the first rows that are not so, and the fix."""
    lines = [f"- {result['name']}: {result['observed']}"]
    for example in result["examples"]:
        place = f"{example['file']}, row {example['row']}, {example['trajectory_id']}"
        place += f", step {example['step']}" if example["step"] is not None else ""
        lines.append(f"    {place}: {example['found']}")
    if result["unexpected"] > len(result["examples"]):
        lines.append(f"    and {result['unexpected'] - len(result['examples'])} more in {FAILURES}")
    return "\n".join([*lines, f"    fix: {result['fix']}"])


def prompt_counter(config: Config, base: Path) -> PromptLength | None:
    """What counts prompts in the base planner's tokens, or None while there is no base planner."""
    if not holds_model(base):
        return None
    from tracer.planner.length import PromptLength

    return PromptLength.load(base, PlannerSettings.of(config.planner))


def _not_applicable(config: Config, base: Path) -> dict[str, Any]:
    return {
        "name": "prompts fit the planner's context",
        "kind": "ExpectColumnValuesToBeBetween",
        "columns": ["prompt_tokens"],
        "severity": "warning",
        "applicable": False,
        "success": False,
        "expected": {"max_value": config.planner.max_prompt_tokens},
        "observed": f"not checked: the base planner {base} does not exist",
        "unexpected": 0,
        "examples": [],
        "fix": hub.absent(config),
    }


def records_table(table: pd.DataFrame, trajectories: Path) -> pd.DataFrame:
    """One row per record that ingestion read: the trajectories, and what it rejected."""
    import pandas as pd

    kept = table.drop_duplicates("trajectory_id")[["file", "row", "trajectory_id"]]
    kept = kept.assign(step=None, rejected=0, found="")
    lost = quarantined(trajectories) if (trajectories / QUARANTINE).is_file() else ()
    rejected = [
        {"file": each.file, "row": each.row, "trajectory_id": each.id, "step": None, "rejected": 1,
         "found": f"{each.reason}: {each.detail}; {each.fix}"}
        for each in lost
    ]  # fmt: skip
    return pd.DataFrame([*rejected, *kept.to_dict("records")])


def check(
    steps: pd.DataFrame, records: pd.DataFrame, wanted: Sequence[Expectation], out: Path
) -> Iterator[dict[str, Any]]:
    """The result of every expectation, in order, with all failing ``rows``; builds the Data Docs under ``out``."""
    logging.getLogger("great_expectations").setLevel(logging.ERROR)  # before its import, which logs what it finds
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger(ProgressBarsConfig.__module__).setLevel(logging.ERROR)  # which sets a level of its own
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for site in list(context.list_data_docs_sites()):
        context.delete_data_docs_site(site)
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str((out / DATA_DOCS).resolve())}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    site_config = {"class_name": "SiteBuilder", "store_backend": backend, "site_index_builder": index}
    context.add_data_docs_site(site_name="data_docs", site_config=site_config)
    source = context.data_sources.add_pandas("trajectories")
    found: dict[str, dict[str, Any]] = {}
    for name, table in (("steps", steps), ("records", records)):
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(gx.ExpectationSuite(name=name))
        for one in wanted:
            if one.table == name:
                suite.add_expectation(_built(one))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        run = definition.run(
            batch_parameters={"dataframe": table},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": list(KEYS)},
        )
        found |= {result.expectation_config.meta["name"]: result.to_json_dict() for result in run.results}
    context.build_data_docs(site_names=["data_docs"])
    for one in wanted:
        yield _result(one, found[one.name], steps if one.table == "steps" else records)


def _built(one: Expectation) -> Any:
    import great_expectations.expectations as gxe

    meta = {"name": one.name, "fix": one.fix, "notes": {"format": "string", "content": [f"{one.name}. {one.fix}"]}}
    severity = "critical" if one.severity == "error" else "warning"
    return getattr(gxe, one.kind)(**one.arguments, severity=severity, meta=meta)


def _result(one: Expectation, found: dict[str, Any], table: pd.DataFrame) -> dict[str, Any]:
    """What Great Expectations found, without its ids and times."""
    result = found["result"]
    rows = [_row(one, row) for row in result.get("unexpected_index_list") or ()]
    if one.table == "records" and not found["success"]:
        lost = table[table["rejected"] == 1]
        rows = [{key: row[key] for key in (*KEYS, "found")} for row in lost.to_dict("records")]
    errors = _exceptions(found["exception_info"])
    arguments = {key: value for key, value in one.arguments.items() if not key.startswith("column")}
    return {
        "name": one.name,
        "kind": one.kind,
        "columns": one.columns,
        "severity": one.severity,
        "applicable": True,
        "success": bool(found["success"]) and not errors,
        "expected": arguments,
        "observed": f"could not be checked: {errors[0]}" if errors else _observed(result),
        "unexpected": result.get("unexpected_count", len(rows)),
        "examples": rows[:EXAMPLES],
        "fix": one.fix,
        "rows": rows,
    }


def _exceptions(info: dict[str, Any]) -> list[str]:
    """The messages of what went wrong while checking: one record for the expectation, or one for each metric."""
    records = [info] if "raised_exception" in info else info.values()
    return [record["exception_message"] for record in records if record["raised_exception"]]


def _observed(result: dict[str, Any]) -> Any:
    if result.get("partial_missing_list"):
        return f"missing: {', '.join(map(str, result['partial_missing_list']))}"
    if result.get("observed_value") is not None:
        return result["observed_value"]
    if "unexpected_count" in result:
        return f"{result['unexpected_count']} of {result['element_count']} rows"
    return "all are there"


def _row(one: Expectation, row: dict[str, Any]) -> dict[str, Any]:
    values = [_plain(row.get(column)) for column in one.columns]
    text = ", ".join(f"{column} = {value!r}" for column, value in zip(one.columns, values, strict=True))
    found = str(values[0]) if one.kind == "ExpectColumnValuesToBeNull" else text
    return {**{key: row[key] for key in KEYS}, "found": found}


def _plain(value: Any) -> Any:
    """A number of Python's for one of numpy's, which prints its type."""
    return value.item() if hasattr(value, "item") else value


def _write_failures(results: Sequence[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"row": pa.int64(), "step": pa.int64()}
    names = (*KEYS, "expectation", "severity", "found", "fix")
    schema = pa.schema([(name, numbers.get(name, pa.string())) for name in names])
    rows = [
        {**row, "expectation": result["name"], "severity": result["severity"], "fix": result["fix"]}
        for result in results
        for row in result["rows"]
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")
