//! What Redis and its client report, as errors that say what to do.

use celeriac_core::{BrokerError, Cause};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What went wrong, in words, with the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}; {help}")]
pub(super) struct Failure {
    reason: String,
    help: &'static str,
    kind: Kind,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It passes by itself, or when somebody has mended it.
    Passing,
    /// The server is full.
    Full,
    /// The server wants to know who asks.
    Refused,
    /// It will not work like this.
    Misfit,
}

/// What to do about the answers that have a code.
const ANSWERS: [(&str, Kind, &str); 14] = [
    (
        "NOAUTH",
        Kind::Refused,
        "give the password in the URL, as in redis://:password@host",
    ),
    (
        "WRONGPASS",
        Kind::Refused,
        "check user and password in the URL, with special characters as %XX",
    ),
    (
        "NOPERM",
        Kind::Refused,
        "allow this user the commands and keys of queues and results (ACL SETUSER)",
    ),
    ("OOM", Kind::Full, "raise `maxmemory` or drop what is old"),
    (
        "LOADING",
        Kind::Passing,
        "it loads its data and will answer when that is done",
    ),
    (
        "READONLY",
        Kind::Passing,
        "this is a replica: connect to the master, or through Sentinels",
    ),
    (
        "MASTERDOWN",
        Kind::Passing,
        "this replica has lost its master",
    ),
    (
        "MISCONF",
        Kind::Passing,
        "it cannot write its data to disk: see its log, and free some space",
    ),
    (
        "NOREPLICAS",
        Kind::Passing,
        "it takes no writes while its replicas are away",
    ),
    (
        "BUSY",
        Kind::Passing,
        "a script runs for too long: see SCRIPT KILL",
    ),
    (
        "MOVED",
        Kind::Misfit,
        "this is a cluster, which cannot hold a broker: use a single server or Sentinels",
    ),
    (
        "CROSSSLOT",
        Kind::Misfit,
        "this is a cluster, which cannot hold a broker: use a single server or Sentinels",
    ),
    (
        "WRONGTYPE",
        Kind::Misfit,
        "another program uses the same keys: set `global_keyprefix`, or another database",
    ),
    (
        "DENIED",
        Kind::Refused,
        "it is in protected mode: set a password, or connect from its own host",
    ),
];

/// What a script is told that may not do something, under the code of any error before Redis 7.2.
const FORBIDDEN_TO_SCRIPT: &str = "The user executing the script can't";

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let detail = error.detail().unwrap_or_default();
        let code = match error.code().unwrap_or_default() {
            _ if detail.contains(FORBIDDEN_TO_SCRIPT) => "NOPERM",
            code => code,
        };
        let known = ANSWERS.iter().find(|(answer, _, _)| {
            // Behind a script or a transaction the code comes with the text.
            *answer == code || detail.starts_with(answer) || detail.contains(&format!("-{answer} "))
        });
        if let Some((answer, kind, help)) = known {
            return Self {
                reason: format!("the server answers {answer}"),
                help,
                kind: *kind,
            };
        }
        let text = error.to_string();
        let (kind, help) = match error.kind() {
            ErrorKind::AuthenticationFailed => {
                (Kind::Refused, "check user and password in the URL")
            }
            ErrorKind::InvalidClientConfig => (Kind::Misfit, "check the URL"),
            ErrorKind::RESP3NotSupported => (Kind::Misfit, "use Redis 6.2 or newer"),
            // Its connection was lost within it.
            ErrorKind::Parse if text.contains("Unexpected end of input") => {
                (Kind::Passing, "check that it runs and is not overloaded")
            }
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => (
                Kind::Misfit,
                "what listens there does not speak as Redis does: check host and port",
            ),
            ErrorKind::Server(ServerErrorKind::ResponseError) if text.contains("DB index") => {
                (Kind::Misfit, "the server has no database of this number")
            }
            ErrorKind::Server(ServerErrorKind::ResponseError)
                if text.contains("unknown command") =>
            {
                (Kind::Misfit, "use Redis 6.2 or newer")
            }
            ErrorKind::Server(ServerErrorKind::ResponseError) => {
                (Kind::Passing, "see the log of the server")
            }
            _ => (
                Kind::Passing,
                "check that it runs and that host and port are right",
            ),
        };
        Self {
            reason: text,
            help,
            kind,
        }
    }
}

impl Failure {
    /// No answer in time.
    pub(super) fn timed_out() -> Self {
        Self {
            reason: "it did not answer in time".to_owned(),
            help: "check that it runs and is not overloaded",
            kind: Kind::Passing,
        }
    }

    /// Whether it passes without anybody who changes a setting.
    pub(super) fn passes(&self) -> bool {
        matches!(self.kind, Kind::Passing | Kind::Full)
    }

    /// It will not work like this.
    pub(super) fn misfit(reason: impl Into<String>, help: &'static str) -> Self {
        Self {
            reason: reason.into(),
            help,
            kind: Kind::Misfit,
        }
    }

    /// The error of one who opens the store at `address`: what somebody must mend is told at once.
    pub(super) fn at_opening(self, address: &str) -> BrokerError {
        if matches!(self.kind, Kind::Refused) {
            return self.unusable(address);
        }
        self.at(address)
    }

    /// The error of one who uses it. What is refused while it runs may be mended while it runs.
    pub(super) fn at(self, address: &str) -> BrokerError {
        match self.kind {
            Kind::Full => BrokerError::Full {
                address: address.to_owned(),
                reason: self.to_string(),
            },
            Kind::Misfit => self.unusable(address),
            Kind::Passing | Kind::Refused => BrokerError::Unavailable {
                address: address.to_owned(),
                source: Box::new(Cause {
                    reason: self.reason,
                    help: self.help.to_owned(),
                }),
            },
        }
    }

    fn unusable(self, address: &str) -> BrokerError {
        BrokerError::Unusable {
            address: address.to_owned(),
            reason: self.reason,
            help: self.help.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: &str, text: &str) -> Failure {
        redis::make_extension_error(code.to_owned(), Some(text.to_owned())).into()
    }

    #[test]
    fn what_needs_a_person_is_told_at_opening_and_waited_for_later() {
        let refused = answered("NOAUTH", "Authentication required.");
        let opening = refused.clone().at_opening("redis://h:1/0");
        assert!(matches!(opening, BrokerError::Unusable { .. }));
        assert!(opening.help().unwrap().contains("password"));
        let later = refused.at("redis://h:1/0");
        assert!(later.is_transient());
    }

    #[test]
    fn what_is_forbidden_to_a_script_is_forbidden_to_its_user() {
        let old = "Error running script (call to f_1): @user_script:1: @user_script: 1: \
                   The user executing the script can't run this command or subcommand";
        let new = "The user executing the script can't run this command or subcommand script: 1";
        for text in [old, new] {
            let error = answered("ERR", text).at_opening("a");
            assert!(error.help().unwrap().contains("ACL SETUSER"), "{error:?}");
        }
    }

    #[test]
    fn what_passes_is_transient_and_a_full_server_is_full() {
        for code in ["LOADING", "READONLY", "MISCONF", "MASTERDOWN"] {
            assert!(answered(code, "x").at_opening("a").is_transient(), "{code}");
        }
        let full = answered("OOM", "command not allowed when used memory > 'maxmemory'.");
        assert!(matches!(full.at("a"), BrokerError::Full { .. }));
    }

    #[test]
    fn a_strangers_answer_is_named_as_such() {
        let failure = Failure::from(RedisError::from((ErrorKind::Parse, "no RESP")));
        let error = failure.at("redis://h:80/0");
        assert!(error.help().unwrap().contains("host and port"), "{error:?}");
    }
}
