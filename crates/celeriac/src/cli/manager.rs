//! `manager`: holds what machines share, in its memory.

use std::path::PathBuf;

use celeriac_sync::cluster::{Error, Manager, ManagerKey};
use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::Output;

#[derive(Debug, Args)]
pub(super) struct ManagerArgs {
    /// Where it listens; without a key, only this machine may reach it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7420")]
    bind: String,
    /// The file with the key that clients must know: 32 bytes or more that only its owner can read
    #[arg(long, value_name = "FILE", env = "CELERIAC_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Speaks TLS: the file with its certificate, and those between it and its authority, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The file with the key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

pub(super) async fn run(args: ManagerArgs, output: Output) -> Result<Exit, Failure> {
    let key = args.key_file.as_deref().map(ManagerKey::read).transpose();
    let key = key.map_err(|error| failure(&error))?;
    let mut manager = Manager::bind(&args.bind, key).map_err(|error| failure(&error))?;
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let encrypted = manager.encrypted(certificate, key);
        manager = encrypted.map_err(|error| failure(&error))?;
    }
    let place = manager.place();
    output.print(&json!({ "place": place }), || {
        format!("listening at {place}")
    })?;
    // What it holds is in its memory, so there is nothing to be saved when it is told to stop.
    tokio::select! {
        served = manager.serve() => served.map_err(|error| failure(&error))?,
        stopped = stopped() => stopped?,
    }
    Ok(Exit::Done)
}

/// Waits until it is told to stop.
async fn stopped() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminates = signal(SignalKind::terminate())?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminates.recv() => {}
        _ = interrupts.recv() => {}
    }
    Ok(())
}

fn failure(error: &Error) -> Failure {
    let (exit, help) = match error {
        Error::KeyFile { .. } => (
            Exit::Configuration,
            "make one with: (umask 077; head -c 48 /dev/urandom | base64 > FILE)",
        ),
        Error::TlsFile { .. } => (
            Exit::Configuration,
            "give it a certificate and the key of that, both in PEM, which this user can read",
        ),
        Error::Refused { .. } => (Exit::Configuration, "give it a key with --key-file"),
        _ => (
            Exit::StoreUnavailable,
            "check that the address is of this machine and free",
        ),
    };
    let failure = Failure::new(exit, error.to_string()).help(help);
    match std::error::Error::source(error) {
        Some(source) => failure.because(std::io::Error::other(source.to_string())),
        None => failure,
    }
}
