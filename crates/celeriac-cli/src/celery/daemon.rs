//! What the app's settings say of the worker's process, where no flag does: its files and its mask.
//!
//! # Sources
//!
//! `DaemonOption` of `celery/bin/base.py`: each flag of a process in the background is looked up in the
//! app's settings too, as `worker_logfile` and so on. These are in no list of Celery's settings.

use std::path::PathBuf;

use celeriac_python::AppReport;
use serde_json::Value;

use super::failure::Failure;
use super::flags::DaemonFlags;
use super::node;
use super::value::umask;

/// Settings that come too late for us: the process is who it is before the app is imported.
const TOO_LATE: [&str; 2] = ["worker_uid", "worker_gid"];

/// The files and the mask of a worker.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct DaemonSettings {
    pub(crate) logfile: Option<PathBuf>,
    pub(crate) pidfile: Option<PathBuf>,
    pub(crate) umask: Option<u32>,
}

impl DaemonSettings {
    /// What the settings add to the flags of the worker called `node`.
    ///
    /// # Errors
    ///
    /// If a setting is none that can be heeded.
    pub(crate) fn of(flags: &DaemonFlags, report: &AppReport, node: &str) -> Result<Self, Failure> {
        let setting = |flag: &Option<String>, name: &str| {
            let value = report.setting(name).filter(|_| flag.is_none());
            value.map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        let file = |flag: &Option<String>, name: &str| {
            let pattern = setting(flag, name);
            let name = pattern.map(|pattern| node::file_name(&pattern, node));
            let name = name.transpose();
            name.map_err(|error| Failure::usage(error.to_string()))
        };
        for (flag, name) in [&flags.uid, &flags.gid].into_iter().zip(TOO_LATE) {
            if setting(flag, name).is_some() {
                let flag = name.trim_start_matches("worker_");
                let message = format!("the setting {name} comes too late to become another user");
                return Err(Failure::usage(message).help(format!("say it with --{flag}")));
            }
        }
        let mask = setting(&flags.umask, "worker_umask").map(|text| {
            umask(&text).ok_or_else(|| {
                Failure::usage(format!("the setting worker_umask is no mask: {text}"))
                    .help("write 022 for example")
            })
        });
        Ok(Self {
            logfile: file(&flags.logfile, "worker_logfile")?.map(Into::into),
            pidfile: file(&flags.pidfile, "worker_pidfile")?.map(Into::into),
            umask: mask.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::flags::Flags;
    use super::*;
    use serde_json::json;
    use std::ffi::OsString;

    fn settings(line: &str, settings: &Value) -> Result<DaemonSettings, Failure> {
        let words = ["celeriac", "-A", "proj"].into_iter();
        let words = words.chain(line.split_whitespace()).map(OsString::from);
        let flags = Flags::read(words).unwrap();
        let report = json!({"settings": settings});
        let report: AppReport = serde_json::from_value(report).unwrap();
        DaemonSettings::of(&flags.daemon, &report, "w1@box")
    }

    #[test]
    fn settings_stand_in_for_flags() {
        let app = json!({
            "worker_logfile": "%n.log", "worker_pidfile": "/run/%n.pid", "worker_umask": "022",
        });
        let found = settings("", &app).unwrap();
        assert_eq!(found.logfile, Some("w1.log".into()));
        assert_eq!(found.pidfile, Some("/run/w1.pid".into()));
        assert_eq!(found.umask, Some(0o22));
        let found = settings("-f a --pidfile b --umask 077", &app).unwrap();
        assert_eq!(found, DaemonSettings::default());
        let number = settings("", &json!({"worker_umask": 18})).unwrap();
        assert_eq!(number.umask, Some(0o22));
    }

    #[test]
    fn what_cannot_be_heeded_is_refused() {
        for app in [
            json!({"worker_uid": "nobody"}),
            json!({"worker_gid": 7}),
            json!({"worker_umask": "rwx"}),
        ] {
            assert!(settings("", &app).is_err(), "{app}");
        }
        assert!(settings("--uid nobody", &json!({"worker_uid": "nobody"})).is_ok());
    }
}
