//! How the command line asks for alerts.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use lettre::message::Mailbox;

/// The flags of a worker that say who is mailed of failures.
#[derive(Debug, Clone, Args)]
pub struct AlertArgs {
    /// Mails these of tasks that failed for good, without their arguments
    #[arg(
        long,
        value_name = "ADDRESSES",
        value_delimiter = ',',
        requires = "smtp",
        env = "CELERIAC_ALERT_TO",
        hide_env_values = true
    )]
    pub alert_to: Vec<Mailbox>,
    /// Who the mails are from [default: celeriac at the worker's host]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "CELERIAC_ALERT_FROM",
        hide_env_values = true
    )]
    pub alert_from: Option<Mailbox>,
    /// How many seconds lie between two mails at least; the later one tells all that failed meanwhile
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub alert_every: Duration,
    /// The URL of the server that sends them, with its login: of smtps, or of smtp, with ?tls=required at
    /// its end for STARTTLS
    #[arg(
        long,
        value_name = "URL",
        env = "CELERIAC_SMTP",
        hide_env_values = true
    )]
    pub smtp: Option<SmtpUrl>,
}

impl Default for AlertArgs {
    /// Tells nobody.
    fn default() -> Self {
        Self {
            alert_to: Vec::new(),
            alert_from: None,
            alert_every: Duration::from_secs(60),
            smtp: None,
        }
    }
}

/// The URL of a server for mails, whose password is not shown.
#[derive(Clone)]
pub struct SmtpUrl(pub(super) String);

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SmtpUrl")
    }
}

impl FromStr for SmtpUrl {
    type Err = Infallible;

    /// What is wrong with it is said later, without its password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "use a number of seconds")?;
    let every = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if every < Duration::from_secs(1) {
        return Err("at least 1 s lies between two mails".to_owned());
    }
    Ok(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mails_do_not_follow_one_another_at_once() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["0", "0.9", "-1", "soon", "NaN"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let url: SmtpUrl = "smtp://me:secret@box".parse().unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }
}
