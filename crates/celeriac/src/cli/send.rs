//! `send NAME ARGS…`: sends a call.

use std::time::Duration;

use celeriac_core::{
    CallOptions, ContentType, Destination, Message, Payload, QueueName, Registry, Routes,
    TaskDefinition, TaskOptions,
};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::duration::duration;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::result::tell;
use super::wait::wait;
use super::{GlobalArgs, connect};

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// The name of the task
    name: String,
    /// Its arguments as JSON; what is no JSON is text
    #[arg(value_name = "ARGS", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// A named argument, as often as needed; its value is read like ARGS
    #[arg(long, short = 'k', value_name = "NAME=VALUE")]
    kwarg: Vec<String>,
    /// The queue [default: the task's own, or celery]
    #[arg(long)]
    queue: Option<QueueName>,
    /// How long to wait before it may start
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    countdown: Option<Duration>,
    /// After how long it is not worth starting any more
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires: Option<Duration>,
    /// 0 to 9, larger first
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: Option<u8>,
    /// Waits for the result and prints it instead of the id
    #[arg(long, short)]
    wait: bool,
    /// The longest to wait
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "wait")]
    timeout: Option<Duration>,
    /// Sends it although this program has no such task
    #[arg(long)]
    unchecked: bool,
}

pub(super) async fn run(
    args: SendArgs,
    global: &GlobalArgs,
    output: Output,
) -> Result<Exit, Failure> {
    let task = args.task()?;
    let body = args.body(task)?;
    let (destination, message) = args.message(task, body, &connect::routes(global)?)?;
    let id = message.headers.id.clone();
    if args.wait && message.headers.ignore_result == Some(true) {
        let failure = Failure::new(Exit::Usage, format!("`{}` keeps no result", args.name));
        return Err(failure.help("send it without --wait"));
    }
    let broker = connect::open_or_create(global).await?;
    broker.publish(vec![(destination.clone(), message)]).await?;
    if !args.wait {
        output.print(&json!({"id": id, "queue": destination.to_string()}), || {
            id.to_string()
        })?;
        return Ok(Exit::Done);
    }
    let results = connect::results(&*broker)?;
    let result = wait(&*results, &id, args.timeout, output.is_json()).await?;
    if !output.is_json()
        && result
            .as_ref()
            .is_none_or(|result| !result.state.is_final())
    {
        let failure = Failure::new(Exit::GaveUpWaiting, format!("call {id} has no result yet"));
        let help = if results.goes_to_sender() {
            "it is not lost and will run, but its result goes with this command; keep results \
             elsewhere (`--results redis://HOST`) to ask later"
                .to_owned()
        } else {
            format!("it is not lost; ask later with `result {id}`")
        };
        return Err(failure.help(help));
    }
    tell(&id, result.as_ref(), output)
}

impl SendArgs {
    /// The task, if it is one of this program's.
    fn task(&self) -> Result<Option<&'static TaskDefinition>, Failure> {
        let registry = Registry::collect()?;
        match registry.get(&self.name) {
            Ok(task) => Ok(Some(task)),
            // A program without tasks sends for others.
            Err(_) if self.unchecked || registry.require_tasks().is_err() => Ok(None),
            Err(unknown) => {
                Err(Failure::from(unknown)
                    .help("to send a task of another program, add --unchecked"))
            }
        }
    }

    /// The body of the call, once it is clear that its arguments can fit.
    fn body(&self, task: Option<&TaskDefinition>) -> Result<Payload, Failure> {
        let arguments = self.arguments.iter().map(|text| read(text));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let mut named = Map::new();
        for pair in &self.kwarg {
            let Some((name, value)) = pair.split_once('=') else {
                let message = format!("`{pair}` is no named argument");
                return Err(Failure::new(Exit::Usage, message).help("write it as NAME=VALUE"));
            };
            named.insert(name.to_owned(), read(value)?);
        }
        if let Some(task) = task {
            check(task, arguments.len(), &named)?;
        }
        let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
        Payload::encode(ContentType::Json, &(arguments, named, embed)).map_err(|error| {
            Failure::new(Exit::Usage, "the arguments cannot be sent").because(error)
        })
    }

    fn message(
        &self,
        task: Option<&TaskDefinition>,
        body: Payload,
        routes: &Routes,
    ) -> Result<(Destination, Message), Failure> {
        let own = task.map_or(&TaskOptions::DEFAULT, |task| &task.options);
        let options = CallOptions {
            queue: self.queue.as_ref().map(ToString::to_string),
            countdown: self.countdown,
            expires: self.expires,
            priority: self.priority,
            ..CallOptions::default()
        };
        let destination = routes.choose(&options, own.queue, &self.name)?;
        let mut message = Message::new(&self.name, body, &options, own, Timestamp::now());
        if task.is_none() {
            // Whoever has the task decides.
            message.headers.ignore_result = None;
        }
        Ok((destination, message))
    }
}

/// JSON, or else the text itself; text that only looks like JSON is a slip and refused.
fn read(text: &str) -> Result<Value, Failure> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) if text.starts_with(['{', '[', '"']) => {
            let message = format!("`{text}` is no JSON");
            let help = "quote the whole argument for the shell, as in '[1, 2]' or '\"text\"'";
            Err(Failure::new(Exit::Usage, message).because(error).help(help))
        }
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

/// Refuses arguments that cannot fit the task's parameters, whatever their types.
fn check(task: &TaskDefinition, given: usize, named: &Map<String, Value>) -> Result<(), Failure> {
    let parameters = task.parameters;
    let refuse = |reason: String| {
        let message = format!("the arguments do not fit `{}`: {reason}", task.name);
        Err(Failure::new(Exit::Usage, message).help(format!("it is {}", task.signature)))
    };
    let Some(rest) = parameters.get(given..) else {
        return refuse(format!("it takes {}, {given} given", parameters.len()));
    };
    if let Some(extra) = named.keys().find(|name| !rest.contains(&name.as_str())) {
        return refuse(if parameters.contains(&extra.as_str()) {
            format!("`{extra}` is given twice")
        } else {
            format!("it has no parameter `{extra}`")
        });
    }
    match rest.iter().find(|name| !named.contains_key(**name)) {
        Some(missing) => refuse(format!("`{missing}` is missing")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::Run;

    static ADD: TaskDefinition = TaskDefinition {
        name: "add",
        signature: "add(a: i64, b: i64) -> i64",
        parameters: &["a", "b"],
        is_async: false,
        wants_context: false,
        options: TaskOptions::DEFAULT,
        call: |_, _, _| Run::Ready(Ok(Vec::new())),
    };

    #[test]
    fn an_argument_is_json_or_text() {
        assert_eq!(read("7").unwrap(), json!(7));
        assert_eq!(read("true").unwrap(), json!(true));
        assert_eq!(read("[1,2]").unwrap(), json!([1, 2]));
        assert_eq!(read("\"7\"").unwrap(), json!("7"));
        assert_eq!(read("a word").unwrap(), json!("a word"));
        assert_eq!(read("").unwrap(), json!(""));
        for slip in ["[1,", "{a:1}", "\"open"] {
            assert!(read(slip).unwrap_err().to_string().contains("is no JSON"));
        }
    }

    #[test]
    fn arguments_that_cannot_fit_are_refused_before_they_are_sent() {
        let named = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), json!(1))).collect();
        assert!(check(&ADD, 2, &named(&[])).is_ok());
        assert!(check(&ADD, 1, &named(&["b"])).is_ok());
        for (given, names, reason) in [
            (3, &[][..], "it takes 2, 3 given"),
            (1, &[], "`b` is missing"),
            (2, &["a"], "`a` is given twice"),
            (2, &["c"], "it has no parameter `c`"),
        ] {
            let error = check(&ADD, given, &named(names)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
