"""`dipper topology`: the life of an application as a table."""

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dipper topology")(topology)


def topology() -> None:
    """Show the stages that an application passes, and the topics, in order."""
    from rich.console import Console
    from rich.table import Column, Table

    from streams.topology import STAGES, TOPICS

    module = Column("module", no_wrap=True)
    stages = Table("n", "stage", module, "takes", "gives", "may refuse", title="stages")
    for stage in STAGES:
        stages.add_row(str(stage.n), *stage[1:])
    topics = Table("topic", "holds", "partitions", "compacted", title="topics")
    for topic in TOPICS:
        partitions = str(topic.partitions) if topic.partitions else "as the input"
        topics.add_row(topic.name, topic.holds, partitions, "yes" if topic.compacted else "")
    console = Console()
    console.print(stages)
    console.print(topics)
