//! The login: what client and server agree on before anything else.
//!
//! ```text
//! client                    server
//! greeting            ──▶
//!                     ◀──   start: how one can log in
//! start-ok: who I am  ──▶
//!                     ◀──   tune: what I allow
//! tune-ok, open       ──▶
//!                     ◀──   open-ok
//! ```

use bytes::BytesMut;
use serde_json::{Map, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::frame::{self, put_short};
use super::method::{self, Heard, id};
use super::socket::Socket;
use super::{LinkError, table};
use crate::amqp::settings::Target;

/// The largest frame we take, in bytes.
const FRAME_BYTES: u32 = 128 * 1024;

/// The fewest bytes that a frame may have at most, and what a login has to do with.
const LEAST_FRAME_BYTES: usize = 4096;

/// The most channels on one connection.
const CHANNELS: u16 = 2047;

/// What was agreed on.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) channels: u16,
    pub(super) frame_bytes: usize,
    /// Seconds between heartbeats; 0 if there are none.
    pub(super) heartbeat_s: u16,
    /// What has arrived already of what comes next.
    pub(super) incoming: BytesMut,
}

/// Logs in on a new connection. `name` is what people read in lists of connections.
pub(super) async fn login(
    socket: &mut Socket,
    target: &Target,
    heartbeat_s: u16,
    name: &str,
) -> Result<Agreed, LinkError> {
    if target.vhost.len() > 255 {
        let text = "the virtual host has more than 255 bytes";
        return Err(LinkError::Unsayable(text.to_owned()));
    }
    let mut talk = Talk {
        socket,
        incoming: BytesMut::new(),
        outgoing: frame::GREETING.to_vec(),
    };
    let who = credentials(target, name)?;
    let (server_channels, server_frame_bytes, server_heartbeat_s) = loop {
        match talk.hear().await? {
            Said::Start { plain: true } => {
                method::put(&mut talk.outgoing, 0, id::START_OK, |out| out.extend(&who));
            }
            Said::Start { plain: false } => {
                let text = "the server knows no login by name and password";
                return Err(LinkError::Lost(text.to_owned()));
            }
            Said::Tune(channels, frame_bytes, heartbeat_s) => {
                break (channels, frame_bytes, heartbeat_s);
            }
            Said::OpenOk => return Err(unexpected()),
        }
    };
    // 0 stands for no limit, and for no heartbeat.
    let least = |ours: u32, theirs: u32| if theirs == 0 { ours } else { ours.min(theirs) };
    let channels = least(CHANNELS.into(), server_channels.into());
    let frame_bytes = least(FRAME_BYTES, server_frame_bytes);
    let heartbeat_s = if heartbeat_s == 0 {
        0
    } else {
        least(heartbeat_s.into(), server_heartbeat_s.into())
    };
    let (channels, heartbeat_s) = (low_half(channels), low_half(heartbeat_s));
    method::put(&mut talk.outgoing, 0, id::TUNE_OK, |out| {
        out.extend(channels.to_be_bytes());
        out.extend(frame_bytes.to_be_bytes());
        out.extend(heartbeat_s.to_be_bytes());
    });
    method::put(&mut talk.outgoing, 0, id::OPEN, |out| {
        put_short(out, &target.vhost);
        // Two arguments of older versions.
        out.extend([0, 0]);
    });
    match talk.hear().await? {
        Said::OpenOk => Ok(Agreed {
            channels,
            frame_bytes: usize::try_from(frame_bytes)
                .unwrap_or_default()
                .max(LEAST_FRAME_BYTES),
            heartbeat_s,
            incoming: talk.incoming,
        }),
        _ => Err(unexpected()),
    }
}

fn low_half(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn unexpected() -> LinkError {
    LinkError::Lost("the server did not log us in as AMQP has it".to_owned())
}

/// The arguments with which we say who we are.
fn credentials(target: &Target, name: &str) -> Result<Vec<u8>, LinkError> {
    let properties = Map::from_iter([
        ("product".to_owned(), json!("celeriac")),
        ("version".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
        ("platform".to_owned(), json!("Rust")),
        ("connection_name".to_owned(), json!(name)),
        (
            "capabilities".to_owned(),
            json!({
                "authentication_failure_close": true,
                "basic.nack": true,
                "connection.blocked": true,
                "consumer_cancel_notify": true,
                "exchange_exchange_bindings": true,
                "publisher_confirms": true,
            }),
        ),
    ]);
    let mut who = Vec::new();
    let put = |who: &mut Vec<u8>| {
        table::put_sized(who, |out| table::put_entries(out, &properties))?;
        put_short(who, "PLAIN");
        table::put_sized(who, |out| {
            out.push(0);
            out.extend(target.user.as_bytes());
            out.push(0);
            out.extend(target.password.as_bytes());
            Ok(())
        })?;
        put_short(who, "en_US");
        Ok(())
    };
    put(&mut who).map_err(LinkError::Unsayable)?;
    if who.len() > LEAST_FRAME_BYTES - frame::OVERHEAD {
        let text = "user and password are too long for AMQP";
        return Err(LinkError::Unsayable(text.to_owned()));
    }
    Ok(who)
}

/// What the server says during a login.
enum Said {
    Start { plain: bool },
    Tune(u16, u32, u16),
    OpenOk,
}

/// Questions and answers on a connection that nobody else uses yet.
struct Talk<'a> {
    socket: &'a mut Socket,
    incoming: BytesMut,
    outgoing: Vec<u8>,
}

impl Talk<'_> {
    /// Sends what is to be sent, and waits for what the server says next.
    async fn hear(&mut self) -> Result<Said, LinkError> {
        let outgoing = std::mem::take(&mut self.outgoing);
        self.socket.write_all(&outgoing).await?;
        self.socket.flush().await?;
        loop {
            if let Some((frame, size)) = frame::split(&self.incoming, LEAST_FRAME_BYTES)? {
                let said = read(&frame)?;
                let _ = self.incoming.split_to(size);
                match said {
                    Some(said) => return Ok(said),
                    None => continue,
                }
            }
            if self.socket.read_buf(&mut self.incoming).await? == 0 {
                let text = "the server hung up during the login";
                return Err(LinkError::Lost(text.to_owned()));
            }
        }
    }
}

fn read(frame: &frame::Frame<'_>) -> Result<Option<Said>, LinkError> {
    match (frame.kind, method::read(frame.payload)) {
        (frame::HEARTBEAT, _) => Ok(None),
        (frame::METHOD, Some(Heard::Start { mechanisms })) => Ok(Some(Said::Start {
            plain: mechanisms
                .split(|byte| *byte == b' ')
                .any(|it| it == b"PLAIN"),
        })),
        (frame::METHOD, Some(Heard::Tune(channels, frame_bytes, heartbeat_s))) => {
            Ok(Some(Said::Tune(channels, frame_bytes, heartbeat_s)))
        }
        (frame::METHOD, Some(Heard::Answer(id::OPEN_OK, _))) => Ok(Some(Said::OpenOk)),
        (frame::METHOD, Some(Heard::Close(code, text))) => Err(LinkError::Refused { code, text }),
        _ => Err(unexpected()),
    }
}
