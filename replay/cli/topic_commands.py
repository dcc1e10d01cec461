"""The commands for topics, and their arguments. What they do is in replay/cli/topic.py and topic_produce.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.product.formats import Format
from replay import completion
from replay.cli.app import App
from replay.output import Output, OutputOption, RowsOption, RowsOutput

app = App(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Create topics, show what is in them and append to them, on the Kafka and registry of config.yaml.",
)

Name = Annotated[
    str,
    typer.Argument(
        help="name of a topic, such as orders or pg.public.orders", autocompletion=completion.topics
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would be done")]
Partition = Annotated[int | None, typer.Option(min=0, help="by default all")]
Count = Annotated[int, typer.Option("-n", "--count", min=0, help="number of records")]
Written = Annotated[
    Format | None,
    typer.Option(
        "--format",
        help="avro or avro-single-object: values without a registry, written with the schema of --schema",
    ),
]
Schemas = Annotated[
    list[Path] | None,
    typer.Option(
        "--schema",
        help="with --format: file of the Avro schema that values were written with; of avro-single-object there may be "
        "several",
    ),
]


@app.command()
def create(
    name: Name,
    partitions: Annotated[int | None, typer.Option(min=1, help="by default 1")] = None,
    schema: Annotated[
        Path | None, typer.Option(help="an Avro schema of the values, to be registered")
    ] = None,
    log_append_time: Annotated[
        bool,
        typer.Option(
            "--log-append-time", help="the broker dates the records; by default their producers do"
        ),
    ] = False,
    replication: Annotated[
        int | None, typer.Option(min=1, help="by default 3, or one per broker")
    ] = None,
    tiered: Annotated[
        bool,
        typer.Option(
            "--tiered",
            help="move older segments to the broker's remote tier (remote.storage.enable)",
        ),
    ] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.text,
) -> None:
    """Create a topic that keeps every record for ever, and register the schema of its values.

    Repeating the command changes nothing. A topic that exists with other settings is refused. A newer schema that reads
    old records (BACKWARD) becomes the next version.
    """
    from replay.cli import topic as run_topic
    from replay.kafka.topics import Wanted

    wanted = Wanted(name, partitions, replication, log_append_time, tiered)
    run_topic.create(wanted, schema, dry_run, output)


@app.command("list")
def list_topics(output: RowsOption = RowsOutput.text) -> None:
    """List topics: partitions, offsets, who dates the records, the version of the schema."""
    from replay.cli import topic as run_topic

    run_topic.list_topics(output)


@app.command()
def describe(name: Name, output: OutputOption = Output.text) -> None:
    """Show partitions, settings and schema of a topic, and whether the log is whole."""
    from replay.cli import topic as run_topic

    run_topic.describe(name, output)


@app.command()
def peek(
    name: Name,
    count: Count = 10,
    start: Annotated[
        str, typer.Option("--from", help="beginning, end (the newest), or an offset")
    ] = "end",
    partition: Partition = None,
    written: Written = None,
    schema: Schemas = None,
    output: OutputOption = Output.text,
) -> None:
    """Show records, decoded or with the reason why not: the newest, or the first from an offset on."""
    from replay.cli import topic as run_topic

    run_topic.peek(name, count, start, partition, output, written, schema or ())


@app.command()
def tail(
    name: Name,
    count: Annotated[
        int, typer.Option("-n", "--count", min=0, help="number of the newest records to begin with")
    ] = 10,
    partition: Partition = None,
    written: Written = None,
    schema: Schemas = None,
    output: OutputOption = Output.text,
) -> None:
    """Show the newest records, then each as it arrives. Ctrl-C ends it."""
    from replay.cli import topic as run_topic

    run_topic.tail(name, count, partition, output, written, schema or ())


@app.command()
def produce(
    name: Name,
    file: Annotated[str, typer.Argument(help="a file of JSON lines; - is standard input")] = "-",
    key: Annotated[
        str | None, typer.Option(help="the field whose text is the record's key")
    ] = None,
    timestamp: Annotated[
        str | None,
        typer.Option(help="the field that dates the record; by default the record is dated now"),
    ] = None,
    envelope: Annotated[
        bool,
        typer.Option(
            "--envelope",
            help="a line has key, value, timestamp, partition, headers, as peek prints them",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="append each line as a document of JSON, without a schema"),
    ] = False,
    written: Written = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="with --format: file of the Avro schema that lines are written with"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check every line, append nothing")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Append JSON lines as Avro, by the newest registered schema of the topic, or as they are with --json.

    With --format and --schema no registry is asked, and Avro is written alone or behind the fingerprint of its schema.

    Timestamps are written as ISO 8601 with a zone, or as whole units since 1970; decimals as numbers or strings; bytes
    as "hex:00ff" or "base64:AP8="; the value of a union without its type. A field that is left out takes its default,
    or null. An empty line, or null, is a heartbeat: a record without key and value in every partition, dated now, or
    like the newest record before it if --timestamp is given. The first bad line ends the command; all lines before it
    are in the log.
    """
    from replay.avro.json_lines import Form
    from replay.cli import topic_produce

    form = Form(key, timestamp, envelope)
    topic_produce.produce(name, file, form, dry_run, output, as_json, written, schema)
