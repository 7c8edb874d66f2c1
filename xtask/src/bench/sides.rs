//! The programs that are measured: ours and the peers', built or installed before anything is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::bullmq;
use super::measure::{Language, Measure, Peer};
use super::servers::Servers;
use crate::Result;
use crate::interrupts::Interrupts;
use crate::peers::{self, Variables};
use crate::steps::Program;
use crate::workspace::Workspace;

/// The sides of the measures of one run.
pub(super) struct Sides<'a> {
    ours: PathBuf,
    /// The `celeriac` command, if a measure is about an app of Celery's.
    command: Option<PathBuf>,
    /// The folder of the peers' programs.
    peers: PathBuf,
    /// The program with the peers that are crates, if one is needed and could be built.
    crates: Option<PathBuf>,
    /// The folder in which `BullMQ` stands, if it is needed and could be installed.
    bullmq: Option<PathBuf>,
    /// The peers that could not be prepared, and why.
    pub(super) left_out: Vec<String>,
    pub(super) servers: Servers<'a>,
    interrupts: &'a Interrupts,
}

impl<'a> Sides<'a> {
    /// Builds the bench program as users build theirs, for release, and what the peers of `measures`
    /// need; it tells which of them are left out.
    pub(super) fn build(
        workspace: &'a Workspace,
        interrupts: &'a Interrupts,
        measures: &[&Measure],
    ) -> Result<Self> {
        let bench = Program::cargo(["build", "--release", "--package", "celeriac-bench"]);
        let ours = built(&bench, &workspace.root)?;
        let command = measures.iter().any(|measure| measure.is_of_app()).then(|| {
            let build = ["build", "--release", "--package", "celeriac-cli"];
            built(&Program::cargo(build), &workspace.root)
        });
        let peers = workspace.root.join("bench/peers");
        let kept = workspace.target.join("peers");
        let needed = |language| {
            let mut all = measures.iter().flat_map(|measure| measure.peers);
            all.any(|peer| peer.language == language)
        };
        let mut left_out = Vec::new();
        let mut prepared = |language, names, prepare: &dyn Fn() -> Result<PathBuf>| {
            let mut leave_out = |error| left_out.push(format!("{names}: {error}"));
            needed(language).then(|| prepare().map_err(&mut leave_out).ok())?
        };
        let crates = prepared(Language::Crates, "apalis and rusty-celery", &|| {
            built_crates(&peers, &kept)
        });
        let bullmq = prepared(Language::Node, "BullMQ", &|| bullmq::install(&peers, &kept));
        Ok(Self {
            crates,
            bullmq,
            left_out,
            ours,
            command: command.transpose()?,
            peers,
            servers: Servers::new(&workspace.target, interrupts),
            interrupts,
        })
    }

    /// Whether `peer` can be run here.
    pub(super) fn has(&self, peer: &Peer) -> bool {
        match peer.language {
            Language::Crates => self.crates.is_some(),
            Language::Node => self.bullmq.is_some(),
            Language::Rust | Language::Python | Language::Celery | Language::App => true,
        }
    }

    /// What our side prints.
    pub(super) fn ours(&self, measure: &Measure) -> Result<String> {
        let variables = self.servers.emptied()?;
        if measure.is_of_app() {
            let mut command = self.app_side(&variables)?;
            return self.report(command.args([measure.name, "ours"]), variables);
        }
        let mut command = Command::new(&self.ours);
        self.report(command.args([measure.name, "ours"]), variables)
    }

    /// What `peer` prints, which has to be one that can be run here.
    pub(super) fn peer(&self, measure: &Measure, peer: &Peer) -> Result<String> {
        let variables = self.servers.emptied()?;
        let script = |name: &str| Some(self.peers.join(name));
        let (program, script): (&OsStr, _) = match peer.language {
            Language::Rust => (self.ours.as_os_str(), None),
            Language::Crates => (prepared(self.crates.as_deref())?.as_os_str(), None),
            Language::App => {
                let mut command = self.app_side(&variables)?;
                return self.report(command.args([measure.name, peer.side]), variables);
            }
            Language::Python if measure.is_of_sharing() => {
                ("python3".as_ref(), script("sharing.py"))
            }
            Language::Python => ("python3".as_ref(), script("pools.py")),
            Language::Celery => {
                let python = peers::told(&variables, peers::CELERY_57)?;
                (python.as_ref(), script("celery_side.py"))
            }
            Language::Node => {
                let folder = prepared(self.bullmq.as_deref())?;
                ("node".as_ref(), Some(folder.join(bullmq::SCRIPT)))
            }
        };
        let mut command = Command::new(program);
        command.args(script).args([measure.name, peer.side]);
        self.report(&mut command, variables.clone())
    }

    /// The script that measures an app of Celery's under either worker.
    fn app_side(&self, variables: &Variables) -> Result<Command> {
        let mut command = Command::new(peers::told(variables, peers::CELERY_57)?);
        command
            .arg(self.peers.join("python/side.py"))
            .env("CELERIAC_BENCH_COMMAND", prepared(self.command.as_deref())?)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(command)
    }

    /// What `command` prints; what it complains of goes to the terminal.
    fn report(&self, command: &mut Command, variables: Variables) -> Result<String> {
        let child = command
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        self.interrupts.pass_on_to(&child)?;
        let output = child.wait_with_output()?;
        if self.interrupts.came() {
            return Err("interrupted".into());
        }
        if !output.status.success() {
            let program = command.get_program().display();
            return Err(format!("{program} ended with {}", output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn prepared(path: Option<&Path>) -> Result<&Path> {
    Ok(path.ok_or("this peer was left out")?)
}

/// Builds the peers that are crates: a workspace of its own, so that ours does not meet what they need.
fn built_crates(peers: &Path, kept: &Path) -> Result<PathBuf> {
    let target = kept.join("rust").display().to_string();
    let words = ["build", "--release", "--locked", "--target-dir", &target];
    built(&Program::cargo(words), &peers.join("rust"))
}

/// Runs `build` in `folder`; gives the program that it made.
fn built(build: &Program, folder: &Path) -> Result<PathBuf> {
    let mut command = build.command(folder);
    let output = command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("`{}` failed", build.shown()).into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .next_back();
    Ok(executable.ok_or("cargo built no program")?)
}
