//! The way to a server for mails.

use std::error::Error;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::{AsyncTransport as _, Message, Tokio1Executor};

use super::{AlertArgs, AlertError};

/// How long the server may take for each of its answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is mailed, by whom, and over which server.
#[derive(Debug)]
pub(super) struct Post {
    server: AsyncSmtpTransport<Tokio1Executor>,
    head: MessageBuilder,
}

impl Post {
    /// Nothing, if nobody is to be mailed.
    pub(super) fn of(args: &AlertArgs, worker: &str) -> Result<Option<Self>, AlertError> {
        let Some(url) = args.smtp.as_ref().filter(|_| !args.alert_to.is_empty()) else {
            return Ok(None);
        };
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(&url.0);
        let server = server
            .map_err(AlertError::Url)?
            .timeout(Some(PATIENCE))
            .build();
        let from = args
            .alert_from
            .clone()
            .map_or_else(|| of_host(worker), Ok)?;
        let to = args.alert_to.iter().cloned();
        let head = to.fold(Message::builder().from(from), MessageBuilder::to);
        Ok(Some(Self { server, head }))
    }

    pub(super) async fn send(
        &self,
        subject: &str,
        text: String,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let head = self.head.clone().subject(subject).date_now();
        let mut message = head.header(ContentType::TEXT_PLAIN).body(text)?;
        // So that nobody's absence is answered to it (RFC 3834).
        message.headers_mut().insert_raw(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
        self.server.send(message).await?;
        Ok(())
    }
}

/// The sender, unless one is named.
fn of_host(worker: &str) -> Result<Mailbox, AlertError> {
    let host = worker.split_once('@').map_or(worker, |(_, host)| host);
    let address = format!("celeriac@{host}");
    match address.parse() {
        Ok(address) => Ok(Mailbox::new(None, address)),
        Err(source) => Err(AlertError::From { address, source }),
    }
}
