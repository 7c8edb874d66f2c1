//! What only this system knows.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// In what the kernel counts times of processes.
const TICKS_PER_SECOND: u64 = 100;

/// The name of this machine, as it calls itself; `localhost` if it does not say.
pub(crate) fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// The version of the kernel.
pub(crate) fn release() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    read.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The load of this machine over 1, 5 and 15 minutes; zeros if it does not say.
pub(crate) fn load() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    std::array::from_fn(|_| numbers.next().flatten().unwrap_or(0.0))
}

/// What this process has used, in the words of Python's `resource.getrusage`.
pub(crate) fn usage() -> Map<String, Value> {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process, in parentheses, may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<u64> = rest
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let field = |number: usize| fields.get(number).copied().unwrap_or(0);
    let seconds = |ticks: u64| Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND).as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let counted = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or(0_u64)
    };
    let usage = [
        ("utime", json!(seconds(field(11)))),
        ("stime", json!(seconds(field(12)))),
        ("maxrss", json!(counted("VmHWM:"))),
        ("minflt", json!(field(7))),
        ("majflt", json!(field(9))),
        ("nvcsw", json!(counted("voluntary_ctxt_switches:"))),
        ("nivcsw", json!(counted("nonvoluntary_ctxt_switches:"))),
    ];
    usage
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
