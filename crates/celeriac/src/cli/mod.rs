//! The command line that any app can carry.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     celeriac::cli::main()
//! }
//! ```
//!
//! The program's own tasks are what its `worker` serves; the other commands need none, and the
//! `celeriac` command is this module with no task at all.
//!
//! What people and programs read goes to standard output, logs and errors to standard error. Tables
//! are for people; `--json` prints one JSON document instead. [`Exit`] lists the exit codes.

mod ask;
mod completions;
mod connect;
#[cfg(feature = "sqlite")]
mod db;
mod dead;
mod duration;
mod exit;
mod logs;
mod manager;
mod output;
mod place;
mod pool;
mod purge;
mod queues;
mod remote;
mod result;
mod send;
mod shm;
mod size;
mod status;
mod tasks;
#[cfg(feature = "tui")]
mod top;
#[cfg(feature = "otel")]
mod traces;
#[cfg(not(feature = "otel"))]
mod untraced;
mod wait;
mod worker;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use celeriac_core::{Queue, QueueName, Topology};
use clap::{Args, Parser, Subcommand};
use tokio::runtime::Builder;

pub use self::exit::Exit;
use self::exit::Failure;
use self::logs::LogArgs;
use self::output::Output;
#[cfg(feature = "otel")]
use self::traces::WorkerTraces;
#[cfg(not(feature = "otel"))]
use self::untraced::WorkerTraces;

/// Runs tasks: serves them, sends them, and looks after their queues.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = exit::HELP,
    disable_help_subcommand = true,
    max_term_width = 100,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct GlobalArgs {
    /// The broker: sqlite:PATH, or another that this build speaks
    #[arg(
        long,
        short = 'b',
        alias = "broker",
        global = true,
        value_name = "WHERE",
        env = "CELERIAC_ON",
        hide_env_values = true
    )]
    on: Option<String>,
    /// The store that keeps the results, if it is not the broker
    #[arg(
        long,
        alias = "result-backend",
        global = true,
        value_name = "URL",
        env = "CELERIAC_RESULTS",
        hide_env_values = true
    )]
    results: Option<String>,
    /// Sends the tasks whose name fits a pattern to a queue, if they name none; may be repeated
    #[arg(long = "route", global = true, value_name = "PATTERN=QUEUE")]
    routes: Vec<String>,
    /// Where tasks are sent that name no queue and fit no route
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "CELERIAC_DEFAULT_QUEUE",
        default_value = QueueName::DEFAULT
    )]
    default_queue: QueueName,
    /// Prints one JSON document instead of text for people
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    logs: LogArgs,
    /// The queues that the program defines.
    #[arg(skip)]
    topology: Arc<Topology>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Takes calls from queues and runs them, until it is told to stop
    #[command(after_help = worker::SIGNALS)]
    Worker(Box<worker::WorkerArgs>),
    /// Sends a call of a task and prints its id
    Send(send::SendArgs),
    /// Prints what has become of a call
    Result(result::ResultArgs),
    /// Lists the workers that are alive
    Status(remote::Whom),
    /// Asks workers, of whatever language, about themselves: ping, active, stats and so on
    Inspect(remote::RemoteArgs),
    /// Has workers, of whatever language, change something: revoke, shutdown and so on
    Control(remote::RemoteArgs),
    /// Prints what workers and clients tell of tasks and of themselves, as it happens
    Events,
    /// Shows workers, queues, tasks and calls as they are now, with keys that change them
    #[cfg(feature = "tui")]
    Top(top::TopArgs),
    /// Lists the queues and how full they are
    Queues,
    /// Looks after messages that will not be delivered any more
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// Drops every message of a queue that no worker holds
    Purge(purge::PurgeArgs),
    /// Lists the tasks of this program
    Tasks,
    /// Tries out places where tasks run
    #[command(subcommand)]
    Place(place::PlaceCommand),
    /// Holds locks, queues and values for programs on other machines, until it is told to stop
    Manager(manager::ManagerArgs),
    /// Looks after what processes of this machine share by name
    #[command(subcommand)]
    Shm(shm::ShmCommand),
    /// Looks after SQLite files
    #[cfg(feature = "sqlite")]
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Prints a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Runs the command line that the process was given.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs a command line, whose first word is the name of the program.
pub fn run(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    Program::default().run(words)
}

/// The command line of a program that defines queues, as an app does with
/// [`queues`](crate::AppBuilder::queues).
///
/// `worker -Q` takes the names of such queues too, `-X` leaves some of them out, and a worker that is
/// told neither takes from all of them and from the default queue. What is broadcast is for the workers
/// that are there: see [`Queue::broadcast`].
///
/// ```no_run
/// use celeriac::cli::Program;
/// use celeriac::{Exchange, Queue};
///
/// fn main() -> std::process::ExitCode {
///     let news = Queue::new("news").bind(Exchange::topic("world"), "news.#");
///     Program::default().queues([news, Queue::broadcast("reload")]).main()
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Program {
    queues: Vec<Queue>,
}

impl Program {
    /// Defines queues.
    #[must_use]
    pub fn queues(mut self, queues: impl IntoIterator<Item = Queue>) -> Self {
        self.queues.extend(queues);
        self
    }

    /// Runs the command line that the process was given.
    pub fn main(self) -> ExitCode {
        self.run(std::env::args_os())
    }

    /// Runs a command line, whose first word is the name of the program.
    pub fn run(self, words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
        match (read(words), Topology::new(self.queues)) {
            (Err(exit), _) => exit.into(),
            (Ok(mut cli), Ok(topology)) => {
                cli.global.topology = Arc::new(topology);
                told(execute(cli))
            }
            (Ok(_), Err(error)) => {
                let failure = Failure::new(Exit::Configuration, error.to_string());
                told(Err(
                    failure.help("correct the queues that the program defines")
                ))
            }
        }
    }
}

/// The command line of these words; or the exit, if what was asked for was printed already.
fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, Exit> {
    Cli::try_parse_from(words).map_err(|error| {
        // Nothing can be done about a closed terminal; the code says the rest.
        let _ = error.print();
        if error.use_stderr() {
            Exit::Usage
        } else {
            Exit::Done
        }
    })
}

fn told(done: Result<Exit, Failure>) -> ExitCode {
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(&mut io::stderr().lock()).into(),
    }
}

fn execute(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    let is_worker = matches!(command, Command::Worker(_));
    let traces = is_worker.then(WorkerTraces::from_environment);
    global.logs.install(traces.as_ref());
    let output = Output::new(global.json);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Unexpected, "cannot start a runtime").because(error))?;
    let done = runtime.block_on(dispatch(command, &global, output, traces.as_ref()));
    // A thread that is stuck in a task, or in a system call, does not keep the process.
    runtime.shutdown_background();
    done
}

async fn dispatch(
    command: Command,
    global: &GlobalArgs,
    output: Output,
    traces: Option<&WorkerTraces>,
) -> Result<Exit, Failure> {
    match command {
        Command::Worker(args) => worker::run(*args, global, traces).await,
        Command::Send(args) => send::run(args, global, output).await,
        Command::Result(args) => result::run(args, global, output).await,
        Command::Status(whom) => status::run(&whom, global, output).await,
        Command::Inspect(args) => remote::run(args, remote::Sort::Inspect, global, output).await,
        Command::Control(args) => remote::run(args, remote::Sort::Control, global, output).await,
        Command::Events => remote::watch(global, output.is_json()).await,
        #[cfg(feature = "tui")]
        Command::Top(args) => top::run(args, global).await,
        Command::Queues => queues::run(global, output).await,
        Command::Dead(command) => dead::run(command, global, output).await,
        Command::Purge(args) => purge::run(args, global, output).await,
        Command::Tasks => tasks::run(output),
        Command::Manager(args) => manager::run(args, output).await,
        Command::Shm(command) => shm::run(command, output),
        Command::Place(command) => place::run(command, output).await,
        #[cfg(feature = "sqlite")]
        Command::Db(command) => db::run(command, output),
        Command::Completions(args) => Ok(completions::run(args)),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
