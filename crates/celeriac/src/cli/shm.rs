//! `shm …`: looks after what processes of this machine share by name.

use celeriac_sync::SyncError;
use celeriac_sync::process::shm::{self, Named};
use clap::Subcommand;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{Output, Table};

#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum ShmCommand {
    /// Lists the names, who has what they stand for, and how much memory it takes
    List,
    /// Removes the names that nothing has any more, as processes that were killed leave them
    Clean,
}

pub(super) fn run(command: ShmCommand, output: Output) -> Result<Exit, Failure> {
    match command {
        ShmCommand::List => list(output),
        ShmCommand::Clean => clean(output),
    }
}

fn list(output: Output) -> Result<Exit, Failure> {
    let all = shm::list().map_err(failure)?;
    let documents = all.iter().map(|one| {
        json!({
            "name": one.name,
            "type": one.kind,
            "users": one.users,
            "bytes": one.bytes,
        })
    });
    output.print(&documents.collect(), || table(&all))?;
    Ok(Exit::Done)
}

fn table(all: &[Named]) -> String {
    let mut table = Table::new(&["name", "type", "processes", "#bytes"]);
    for one in all {
        let users: Vec<_> = one.users.iter().map(u32::to_string).collect();
        table.row([
            one.name.clone(),
            one.kind.unwrap_or("nothing any more").to_owned(),
            users.join(" "),
            one.bytes.to_string(),
        ]);
    }
    table.text("nothing is shared by name")
}

fn clean(output: Output) -> Result<Exit, Failure> {
    let removed = shm::clean().map_err(failure)?;
    output.print(&json!({ "removed": removed }), || match &removed[..] {
        [] => "nothing was left over".to_owned(),
        names => format!("removed {}", names.join(", ")),
    })?;
    Ok(Exit::Done)
}

fn failure(error: SyncError) -> Failure {
    Failure::new(Exit::StoreUnavailable, error.to_string())
        .help("look at the folder celeriac-UID in /dev/shm: it has to be yours, with room there")
}
