//! Names of nodes, and what stands for their parts in the names of files.
//!
//! # Sources
//!
//! The rules are those of `celery.utils.nodenames`; what the tests expect was printed by it.

use std::fmt;

/// A name that stands for something unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownPart {
    part: char,
    pattern: String,
}

impl fmt::Display for UnknownPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, pattern } = self;
        write!(formatter, "`%{part}` in `{pattern}` stands for nothing")
    }
}

/// The host of this machine, as Python's `socket.gethostname` has it.
pub(crate) fn hostname() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// The name of a worker, of the pattern that `-n` gives: `celery@HOST` if it gives none.
pub(crate) fn node_name(pattern: Option<&str>, host: &str) -> Result<String, UnknownPart> {
    let pattern = pattern.unwrap_or_default();
    let (name, of_host) = pattern.split_once('@').unwrap_or(("", pattern));
    let or = |given: &str, other: &str| if given.is_empty() { other } else { given }.to_owned();
    let full = format!("{}@{}", or(name, "celery"), or(of_host, host));
    let short = host.split('.').next().unwrap_or(host);
    expand(&full, host, short, &full)
}

/// The name of a file of the worker `node`; for its main process.
pub(crate) fn file_name(pattern: &str, node: &str) -> Result<String, UnknownPart> {
    let (name, host) = node.split_once('@').unwrap_or(("celery", node));
    expand(pattern, host, name, node)
}

fn expand(pattern: &str, host: &str, name: &str, node: &str) -> Result<String, UnknownPart> {
    let domain = host.split_once('.').map_or("", |(_, domain)| domain);
    let mut expanded = String::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        let part = rest.clone().next();
        let (true, Some(part)) = (character == '%', part) else {
            expanded.push(character);
            continue;
        };
        match part {
            'h' => expanded.push_str(host),
            'n' => expanded.push_str(name),
            'd' => expanded.push_str(domain),
            'p' => expanded.push_str(node),
            // The main process has the index 0, which the other form leaves out.
            'i' => expanded.push('0'),
            'I' => {}
            '%' => expanded.push('%'),
            part if part.is_alphanumeric() || part == '_' => {
                let pattern = pattern.to_owned();
                return Err(UnknownPart { part, pattern });
            }
            _ => {
                expanded.push('%');
                continue;
            }
        }
        rest.next();
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_called_what_celery_calls_it() {
        for (pattern, long, short) in [
            ("w1", "celery@w1", "celery@w1"),
            ("w1@%h", "w1@box.example.org", "w1@box"),
            ("%n", "celery@box", "celery@box"),
            ("%n@%d", "box@example.org", "box@"),
            ("@x", "celery@x", "celery@x"),
            ("a@b@c", "a@b@c", "a@b@c"),
            ("100%%@x", "100%@x", "100%@x"),
            ("w%i@%h", "w0@box.example.org", "w0@box"),
            ("w%I@h", "w@h", "w@h"),
            ("", "celery@box.example.org", "celery@box"),
        ] {
            for (host, name) in [("box.example.org", long), ("box", short)] {
                assert_eq!(node_name(Some(pattern), host).unwrap(), name, "{pattern}");
            }
        }
        assert_eq!(node_name(None, "box").unwrap(), "celery@box");
        assert!(node_name(Some("w%x@%h"), "box").is_err());
    }

    #[test]
    fn a_file_is_called_what_celery_calls_it() {
        for (pattern, long, short) in [
            ("/var/%n.pid", "/var/w1.pid", "/var/celery.pid"),
            ("%p.log", "w1@box.example.org.log", "celery@box.log"),
            ("%n%I.log", "w1.log", "celery.log"),
            ("%h-%d-%i", "box.example.org-example.org-0", "box--0"),
            ("%%n", "%n", "%n"),
            ("100%", "100%", "100%"),
            ("% x", "% x", "% x"),
        ] {
            for (node, name) in [("w1@box.example.org", long), ("celery@box", short)] {
                assert_eq!(file_name(pattern, node).unwrap(), name, "{pattern}");
            }
        }
        let error = file_name("%x", "celery@box").unwrap_err().to_string();
        assert_eq!(error, "`%x` in `%x` stands for nothing");
    }
}
