//! What went wrong between us and the server, as callers are told of it.

use celeriac_core::{BrokerError, Cause};

use super::settings::Target;
use super::transport::{LinkError, code};

/// What RabbitMQ says of a message that is over its `max_message_size`, by default 16 MiB since 4.0.
const TOO_LARGE: &str = "message size";

/// The error of a connection that could not be made.
pub(crate) fn at_login(target: &Target, error: LinkError) -> BrokerError {
    let unusable = |reason, help| BrokerError::Unusable {
        address: target.address(),
        reason,
        help,
    };
    match &error {
        LinkError::Refused { code, text } if *code == code::NOT_ALLOWED => unusable(
            format!("it refuses the virtual host `{}`: {text}", target.vhost),
            format!(
                "correct the virtual host at the end of the URL (`//` is the default one), or make \
                 it with `rabbitmqctl add_vhost {0}` and `rabbitmqctl set_permissions -p {0} {1} \
                 '.*' '.*' '.*'`",
                target.vhost, target.user
            ),
        ),
        LinkError::Refused { code, .. } if *code == code::ACCESS_REFUSED => unusable(
            format!("it refuses the user `{}`", target.user),
            "check user name and password in the URL; the user `guest` may log in from the \
             server's own machine only"
                .to_owned(),
        ),
        LinkError::Untrusted(reason) => unusable(
            reason.clone(),
            "name the file of its authority (`?ssl_ca_certs=FILE`), and the server as its certificate \
             does"
                .to_owned(),
        ),
        _ => BrokerError::Unavailable {
            address: target.address(),
            source: error.into(),
        },
    }
}

/// The error of something that was asked of the server at `address`.
pub(crate) fn at(address: &str, error: LinkError) -> BrokerError {
    let address = address.to_owned();
    match error {
        LinkError::NotTaken(reason) => BrokerError::Full { address, reason },
        // It is about one message: others can be carried.
        LinkError::Unsayable(reason) => BrokerError::Unsupported {
            address,
            what: format!("carry it, names and headers must be shorter: {reason}"),
        },
        LinkError::Refused { code, text } if code == code::ACCESS_REFUSED => {
            BrokerError::Unusable {
                address,
                reason: text,
                help: "grant the user configure, write and read permissions in this virtual host \
                   (`rabbitmqctl set_permissions`)"
                    .to_owned(),
            }
        }
        // The same code as of a queue that is declared otherwise, and about one message again.
        LinkError::Refused { code, text }
            if code == code::PRECONDITION_FAILED && text.contains(TOO_LARGE) =>
        {
            BrokerError::Unsupported {
                address,
                what: format!("carry it, send less or raise `max_message_size` there: {text}"),
            }
        }
        LinkError::Refused { code, text } if code == code::PRECONDITION_FAILED => {
            BrokerError::Unusable {
                address,
                reason: text,
                help: "declare it alike everywhere (queue_type, max_priority in the URL; \
                       task_queues in Python), or delete it when it is empty"
                    .to_owned(),
            }
        }
        error => BrokerError::Unavailable {
            address,
            source: error.into(),
        },
    }
}

/// The same of somebody who was let in and is at work: what is forbidden now may be allowed again, once
/// somebody has mended that.
pub(crate) fn on_the_way(address: &str, error: LinkError) -> BrokerError {
    let is_forbidden = error.is_code(code::ACCESS_REFUSED);
    match at(address, error) {
        error if is_forbidden => for_now(error),
        error => error,
    }
}

/// A refusal as one that may pass, with its remedy.
pub(crate) fn for_now(error: BrokerError) -> BrokerError {
    match error {
        BrokerError::Unusable {
            address,
            reason,
            help,
        } => BrokerError::Unavailable {
            address,
            source: Box::new(Cause { reason, help }),
        },
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> LinkError {
        LinkError::Refused {
            code,
            text: "vhost shop not found".to_owned(),
        }
    }

    #[test]
    fn a_refused_login_says_what_to_correct() {
        let target = Target {
            tls: false,
            authorities: None,
            host: "box".to_owned(),
            port: 5672,
            user: "me".to_owned(),
            password: "secret".to_owned(),
            vhost: "shop".to_owned(),
        };
        for (code, remedy) in [(530, "add_vhost shop"), (403, "user name and password")] {
            let error = at_login(&target, refused(code));
            assert!(!error.is_transient());
            assert!(error.help().unwrap().contains(remedy));
            assert!(!format!("{error}{error:?}").contains("secret"));
        }
        let lost = at_login(&target, LinkError::Lost("reset".to_owned()));
        assert!(lost.is_transient());
    }

    #[test]
    fn a_message_that_the_server_finds_too_large_is_no_end_of_the_broker() {
        let text = "PRECONDITION_FAILED - message size 20 is larger than configured max size 10";
        let error = LinkError::Refused {
            code: code::PRECONDITION_FAILED,
            text: text.to_owned(),
        };
        let error = on_the_way("box", error);
        assert!(error.is_refusal() && !error.is_transient(), "{error:?}");
        assert!(error.to_string().contains("max_message_size"), "{error}");
    }

    #[test]
    fn who_is_at_work_waits_for_what_is_forbidden_now() {
        let error = on_the_way("box", refused(code::ACCESS_REFUSED));
        assert!(error.is_transient());
        assert!(error.help().unwrap().contains("set_permissions"));
        let error = on_the_way("box", refused(code::PRECONDITION_FAILED));
        assert!(!error.is_transient());
    }
}
