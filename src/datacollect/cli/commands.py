"""All commands, each under its name. One file per group."""

import typer

from datacollect.cli import (
    attachments,
    database,
    development,
    documents,
    duplicates,
    files,
    integrity,
    jobs,
    messages,
    mock_registry,
    permissions,
    program,
    rebuild,
    reference,
    restored,
    sealing,
    serve,
    simulate,
    stand_in,
    user,
)

app = typer.Typer(
    name="datacollect",
    help="DataCollect Hub: the sync hub of offline-first field data programmes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("serve")(serve.serve)
app.command("migrate")(database.migrate_database)
app.command("verify")(integrity.verify_logs)
app.command("simulate")(simulate.simulate)
app.command("restored")(restored.note_restored)
app.command("rebuild")(rebuild.rebuild_state)
app.command("export")(files.export_program)
app.command("import")(files.import_program)
app.command("openapi")(documents.print_openapi)
app.add_typer(attachments.app, name="attachments")
app.add_typer(permissions.app, name="permissions")
app.add_typer(program.app, name="program")
app.add_typer(user.app, name="user")
app.add_typer(duplicates.app, name="duplicates")
app.add_typer(jobs.app, name="jobs")
app.add_typer(messages.app, name="messages")
app.add_typer(reference.app, name="reference")
app.add_typer(sealing.app, name="secrets")
app.command("mock-registry")(mock_registry.serve_registry)
app.command("stand-in")(stand_in.serve_stand_in)
app.command("dev-env")(development.write_dev_env)
