//! What the fork server is asked to import: the flags, as Celery's own worker is given them.

use std::thread::available_parallelism;

use celeriac_python::ImportRequest;
use serde_json::{Map, Value, json};

use super::flags::{Flags, Optimization};
use super::value::{Concurrency, LogShape, list};

/// The request of a worker called `node`.
pub(crate) fn import_request(flags: &Flags, node: &str, colour: bool) -> ImportRequest {
    let global = &flags.global;
    let names = |names: &Option<String>| names.as_deref().map(list);
    ImportRequest {
        version: 1,
        app: global.app.clone(),
        // The process works there already.
        workdir: None,
        node: node.to_owned(),
        argv: argv(),
        pool: flags.pool.pool.clone(),
        concurrency: match flags.pool.concurrency {
            Some(Concurrency::Of(number)) if number > 0 => Some(number),
            Some(Concurrency::Auto) => available_parallelism().ok().map(Into::into),
            _ => None,
        },
        loglevel: flags.worker.loglevel.map(|level| level.to_string()),
        logfile: flags.daemon.logfile.clone(),
        log_format: (flags.ours.log_format == LogShape::Json).then_some("json"),
        broker: global.broker.clone(),
        result_backend: global.result_backend.clone(),
        loader: global.loader.clone(),
        config: global.config.clone(),
        skip_checks: global.skip_checks,
        include: names(&flags.queues.include).unwrap_or_default(),
        queues: names(&flags.queues.queues),
        exclude_queues: names(&flags.queues.exclude_queues).unwrap_or_default(),
        hostname: flags.worker.hostname.clone(),
        // Lines of ours and of Python's look alike.
        colour: (!colour).then_some(false),
        settings: flags.settings.clone(),
        options: options(flags),
    }
}

/// The words as handlers find them in `sys.argv`.
fn argv() -> Vec<String> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.collect()
}

/// Celery's names of the flags that its worker is given; what was not said is left out.
fn options(flags: &Flags) -> Map<String, Value> {
    let path = |path: &std::path::Path| Value::from(path.to_string_lossy());
    let set = |flag: bool| flag.then_some(Value::Bool(true));
    let (worker, pool, queues) = (&flags.worker, &flags.pool, &flags.queues);
    let (features, beat) = (&flags.features, &flags.beat);
    let options = [
        ("statedb", worker.statedb.as_deref().map(path)),
        (
            "optimization",
            worker.optimization.map(|profile| match profile {
                Optimization::Default => "default".into(),
                Optimization::Fair => "fair".into(),
            }),
        ),
        (
            "prefetch_multiplier",
            worker
                .prefetch_multiplier
                .filter(|it| *it > 0)
                .map(Into::into),
        ),
        ("disable_prefetch", set(worker.disable_prefetch)),
        ("task_events", set(pool.task_events)),
        ("time_limit", pool.time_limit.map(Into::into)),
        ("soft_time_limit", pool.soft_time_limit.map(Into::into)),
        (
            "max_tasks_per_child",
            pool.max_tasks_per_child.map(Into::into),
        ),
        (
            "max_memory_per_child",
            pool.max_memory_per_child.map(Into::into),
        ),
        ("purge", set(queues.purge)),
        ("without_gossip", set(features.without_gossip)),
        ("without_mingle", set(features.without_mingle)),
        ("without_heartbeat", set(features.without_heartbeat)),
        (
            "heartbeat_interval",
            features.heartbeat_interval.map(Into::into),
        ),
        (
            "autoscale",
            features.autoscale.map(|it| json!([it.most, it.fewest])),
        ),
        ("beat", set(beat.beat)),
        ("schedule_filename", beat.schedule.as_deref().map(path)),
        ("scheduler", beat.scheduler.clone().map(Into::into)),
        ("quiet", set(flags.global.quiet)),
        ("umask", flags.daemon.umask.clone().map(Into::into)),
    ];
    let given = options.into_iter();
    given
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn what_is_not_said_is_left_to_the_app() {
        let flags = Flags::read(["celeriac", "-A", "proj"].map(OsString::from)).unwrap();
        let request = import_request(&flags, "celery@box", true);
        assert_eq!((&*request.app, &*request.node), ("proj", "celery@box"));
        assert_eq!((request.concurrency, request.queues), (None, None));
        assert_eq!((request.colour, request.log_format), (None, None));
        assert!(request.options.is_empty(), "{:?}", request.options);
    }

    #[test]
    fn flags_have_celerys_names() {
        let line = "celeriac -A proj -Q a,b -I x -c 3 -l debug -E --autoscale 4,2 -O fair \
                    --time-limit 2 --log-format json k=v";
        let flags = Flags::read(line.split_whitespace().map(OsString::from)).unwrap();
        let request = import_request(&flags, "celery@box", false);
        assert_eq!(
            request.queues.as_deref(),
            Some(&["a".to_owned(), "b".to_owned()][..])
        );
        assert_eq!(
            (request.include, request.concurrency),
            (vec!["x".to_owned()], Some(3))
        );
        assert_eq!(
            (request.loglevel.as_deref(), request.colour),
            (Some("DEBUG"), Some(false))
        );
        assert_eq!(request.settings, ["k=v"]);
        assert_eq!(request.log_format, Some("json"));
        let wanted = json!({
            "optimization": "fair", "task_events": true, "autoscale": [4, 2], "time_limit": 2.0,
        });
        assert_eq!(Value::Object(request.options), wanted);
    }
}
