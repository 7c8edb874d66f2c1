//! `cargo xtask servers`: what the tests talk to, for who runs single tests by hand.

use std::process::ExitCode;

use crate::Result;
use crate::interrupts::Interrupts;
use crate::peers::Peers;
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let interrupts = Interrupts::watch()?;
    let peers = Peers::start(&workspace.target);
    for (name, value) in peers.ready(&interrupts)? {
        println!("export {name}='{value}'");
    }
    eprintln!("They run until Ctrl-C; with these variables any test finds them.");
    interrupts.wait();
    Ok(ExitCode::SUCCESS)
}
