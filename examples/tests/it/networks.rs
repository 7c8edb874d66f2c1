//! Machines of their own, as far as a network goes: a hub, and others that have a cable to it.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// How many machines there are, of which the first is the hub.
const MACHINES: usize = 3;

/// How `ip` ends its complaint if it may not make a namespace.
const FORBIDDEN: [&str; 2] = ["Operation not permitted", "Permission denied"];

/// The machines, until this is dropped: network namespaces, or this machine where one may not make them.
pub(crate) struct Networks(Vec<Namespace>);

/// A network namespace, until it is dropped.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its cables go with it.
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.0])
            .status();
    }
}

impl Networks {
    /// Connects each of the machines with the hub.
    pub(crate) fn prepare() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("celeriac-{}-{made}", std::process::id());
        let mut networks = Self(Vec::new());
        for machine in 0..MACHINES {
            let namespace = format!("{name}-{machine}");
            match ip(&["netns", "add", &namespace]) {
                Ok(()) => networks.0.push(Namespace(namespace)),
                Err(why) if machine == 0 && FORBIDDEN.iter().any(|it| why.ends_with(it)) => {
                    // Written as it is: what is printed by a test that passes is not shown.
                    let _ = writeln!(io::stderr(), "all run on the loopback: {why}");
                    return networks;
                }
                Err(why) => panic!("{why}"),
            }
        }
        for machine in 0..MACHINES {
            networks.connect(machine);
        }
        networks
    }

    /// Gives the hub its address, and others a cable to it.
    fn connect(&self, machine: usize) {
        let [hub, there] = [0, machine].map(|machine| self.0[machine].0.as_str());
        let [hub_host, host] = [0, machine].map(|machine| self.host(machine));
        let run = |namespace: &str, words: &str| {
            let words = words.split(' ');
            let args: Vec<_> = ["-n", namespace].into_iter().chain(words).collect();
            ip(&args).unwrap();
        };
        run(there, "link set lo up");
        run(there, &format!("address add {host}/32 dev lo"));
        if machine != 0 {
            let cable = format!("cable{machine}");
            let ends = format!("link add {cable} type veth peer name cable netns {there}");
            run(hub, &ends);
            run(hub, &format!("link set {cable} up"));
            run(hub, &format!("route add {host} dev {cable}"));
            run(there, "link set cable up");
            run(there, &format!("route add {hub_host} dev cable"));
        }
    }

    /// The address of a machine.
    pub(crate) fn host(&self, machine: usize) -> String {
        if self.0.is_empty() {
            return "127.0.0.1".to_owned();
        }
        format!("10.0.0.{}", machine + 1)
    }

    /// What a command begins with that runs a program on a machine. It becomes the program.
    pub(crate) fn inside(&self, machine: usize) -> Vec<String> {
        let namespace = self.0.get(machine);
        let words = namespace.map(|namespace| ["ip", "netns", "exec", &namespace.0]);
        words.into_iter().flatten().map(str::to_owned).collect()
    }
}

/// Runs `ip`: what it complains of.
fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| {
        format!("cannot run ip: {error}; on Debian, install iproute2, as `cargo xtask test` does")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", args.join(" "), why.trim_end()))
}
