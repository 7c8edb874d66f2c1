//! Tests: what comes of a connection whose server says what real ones seldom do.

use std::time::Duration;

use celeriac_testkit::{block_on, within};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Map;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::method::{self, Id, id};
use super::{Connection, Consume, LinkError, Outgoing, Properties, frame};
use crate::amqp::settings::Target;

/// Longer than any answer here takes.
const WAIT: Duration = Duration::from_secs(20);

/// A server that does what a test says.
struct Server(TcpStream);

impl Server {
    async fn say(&mut self, channel: u16, id: Id, arguments: &[u8]) {
        let mut out = Vec::new();
        method::put(&mut out, channel, id, |out| out.extend(arguments));
        self.0.write_all(&out).await.unwrap();
    }

    /// The next method that the client says.
    async fn hear(&mut self) -> Id {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head).await.unwrap();
            let size = u32::from_be_bytes(head[3..].try_into().unwrap());
            let mut rest = vec![0; usize::try_from(size).unwrap() + 1];
            self.0.read_exact(&mut rest).await.unwrap();
            if head[0] == frame::METHOD {
                let [a, b, c, d] = rest[..4].try_into().unwrap();
                return (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            }
        }
    }

    /// Waits for what the client is to say next.
    async fn expect(&mut self, id: Id) {
        assert_eq!(within(self.hear()).await, id);
    }

    async fn greeted(&mut self) {
        let mut greeting = [0; 8];
        self.0.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, frame::GREETING);
    }

    async fn start(&mut self, mechanisms: &[u8]) {
        self.greeted().await;
        let mut arguments = vec![0, 9, 0, 0, 0, 0];
        for text in [mechanisms, b"en_US"] {
            arguments.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            arguments.extend(text);
        }
        self.say(0, id::START, &arguments).await;
    }

    /// Logs the client in: four channels, frames of 4 KiB.
    async fn log_in(&mut self) {
        self.start(b"AMQPLAIN PLAIN").await;
        self.expect(id::START_OK).await;
        self.say(0, id::TUNE, &[0, 4, 0, 0, 16, 0, 0, 60]).await;
        self.expect(id::TUNE_OK).await;
        self.expect(id::OPEN).await;
        self.say(0, id::OPEN_OK, &[0]).await;
    }

    async fn open_channel(&mut self, number: u16) {
        self.expect(id::CHANNEL_OPEN).await;
        let opened = id::answer(id::CHANNEL_OPEN);
        self.say(number, opened, &[0; 4]).await;
    }

    /// Ends the connection, or a channel of it.
    async fn close(&mut self, channel: u16, id: Id, code: u16, text: &str) {
        let mut arguments = code.to_be_bytes().to_vec();
        frame::put_short(&mut arguments, text);
        arguments.extend([0; 4]);
        self.say(channel, id, &arguments).await;
    }
}

/// What comes of a connection to a server that does what `script` says.
async fn connect<S, F>(script: S) -> Result<Connection, LinkError>
where
    S: FnOnce(Server) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target {
        authorities: None,
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        user: "guest".to_owned(),
        password: "guest".to_owned(),
        vhost: "/".to_owned(),
    };
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(Server(stream)).await;
    });
    within(Connection::open(&target, 6, "test")).await
}

fn outgoing(body: Vec<u8>) -> Outgoing {
    Outgoing {
        exchange: String::new(),
        routing_key: "jobs".to_owned(),
        mandatory: true,
        properties: Properties::default(),
        body: body.into(),
    }
}

#[test]
fn a_login_that_fails_says_why() {
    block_on(async {
        let hung_up = connect(async |mut server| server.greeted().await).await;
        assert!(hung_up.unwrap_err().to_string().contains("hung up"));
        let other = connect(async |mut server| {
            server.greeted().await;
            server.0.write_all(b"AMQP\x00\x01\x00\x00").await.unwrap();
        });
        let error = other.await.unwrap_err().to_string();
        assert!(error.contains("another version"), "{error}");
        let nonsense = connect(async |mut server| {
            server
                .0
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
        });
        assert!(nonsense.await.is_err());
        let no_password = connect(async |mut server| server.start(b"EXTERNAL").await);
        let error = no_password.await.unwrap_err().to_string();
        assert!(error.contains("no login by name and password"), "{error}");
        let refused = connect(async |mut server| {
            server.start(b"PLAIN").await;
            server.expect(id::START_OK).await;
            server.close(0, id::CLOSE, 403, "no such user").await;
        });
        assert!(refused.await.unwrap_err().is_code(403));
    });
}

#[test]
fn who_waits_is_told_when_the_server_ends_the_connection() {
    block_on(async {
        let (told, heard) = tokio::sync::oneshot::channel();
        let connecting = connect(async move |mut server| {
            server.log_in().await;
            server.open_channel(1).await;
            server.expect(id::QUEUE_DECLARE).await;
            server.close(0, id::CLOSE, 320, "going down").await;
            server.expect(id::CLOSE_OK).await;
            told.send(()).unwrap();
        });
        let connection = connecting.await.unwrap();
        let channel = within(connection.channel()).await.unwrap();
        let error = within(channel.look_at("jobs")).await.unwrap_err();
        assert!(error.is_code(320), "{error}");
        within(heard).await.unwrap();
        assert!(!connection.is_open() && !channel.is_open());
        let later = connection.channel().await.unwrap_err();
        assert!(later.to_string().contains("going down"), "{later}");
        within(connection.unblocked()).await;
    });
}

#[test]
fn a_channel_that_the_server_ends_leaves_the_others_alone() {
    block_on(async {
        let connecting = connect(async |mut server| {
            server.log_in().await;
            server.open_channel(1).await;
            server.expect(id::SELECT).await;
            server.say(1, id::answer(id::SELECT), &[]).await;
            server.expect(id::PUBLISH).await;
            server.close(1, id::CHANNEL_CLOSE, 404, "no exchange").await;
            server.expect(id::CHANNEL_CLOSE_OK).await;
            server.open_channel(2).await;
            server.expect(id::CLOSE).await;
            server.say(0, id::CLOSE_OK, &[]).await;
        });
        let connection = connecting.await.unwrap();
        let channel = within(connection.confirming()).await.unwrap();
        // Several frames of it.
        let publishing = channel.publish(vec![outgoing(vec![7; 10_000])], WAIT);
        let error = within(publishing).await.unwrap_err().error;
        assert!(error.is_code(404), "{error}");
        let later = channel.publish(Vec::new(), WAIT).await.unwrap_err().error;
        assert!(matches!(later, LinkError::Lost(_)), "{later}");
        within(connection.channel()).await.unwrap();
        within(connection.close()).await;
        assert!(!connection.is_open());
    });
}

#[test]
fn a_server_that_talks_nonsense_is_left() {
    block_on(async {
        for nonsense in [
            // An answer to nothing, a body that belongs to nothing, a method that nobody knows.
            b"\x01\x00\x01\x00\x00\x00\x04\x00\x32\x00\x15\xCE".as_slice(),
            b"\x03\x00\x01\x00\x00\x00\x01x\xCE",
            b"\x01\x00\x01\x00\x00\x00\x04\x00\x63\x00\x63\xCE",
            b"\x01\x00\x01\xff\xff\xff\xff",
        ] {
            let connecting = connect(async |mut server| {
                server.log_in().await;
                server.open_channel(1).await;
                server.expect(id::QUEUE_DECLARE).await;
                server.0.write_all(nonsense).await.unwrap();
                // Until the other side has gone.
                let _ = server.0.read_to_end(&mut Vec::new()).await;
            });
            let connection = connecting.await.unwrap();
            let channel = within(connection.channel()).await.unwrap();
            let error = within(channel.look_at("jobs")).await.unwrap_err();
            assert!(matches!(error, LinkError::Lost(_)), "{error}");
        }
    });
}

#[test]
fn a_silent_server_is_given_up_and_a_close_does_not_wait_for_it() {
    block_on(async {
        let connecting = connect(async |mut server| {
            server.start(b"PLAIN").await;
            server.expect(id::START_OK).await;
            // A heartbeat each second.
            server.say(0, id::TUNE, &[0, 4, 0, 0, 16, 0, 0, 1]).await;
            server.expect(id::TUNE_OK).await;
            server.expect(id::OPEN).await;
            server.say(0, id::OPEN_OK, &[0]).await;
            let _ = server.0.read_to_end(&mut Vec::new()).await;
        });
        let connection = connecting.await.unwrap();
        let error = within(connection.channel()).await.unwrap_err();
        assert!(error.to_string().contains("nothing was heard"), "{error}");
        let connecting = connect(async |mut server| {
            server.log_in().await;
            let _ = server.0.read_to_end(&mut Vec::new()).await;
        });
        let connection = connecting.await.unwrap();
        let closing = tokio::time::timeout(Duration::from_secs(5), connection.close());
        closing.await.unwrap();
    });
}

#[test]
fn there_are_no_more_channels_than_the_server_allows() {
    block_on(async {
        let connecting = connect(async |mut server| {
            server.log_in().await;
            for number in 1..=4 {
                server.open_channel(number).await;
            }
            server.expect(id::CHANNEL_CLOSE).await;
            server.say(2, id::CHANNEL_CLOSE_OK, &[]).await;
            server.open_channel(2).await;
            let _ = server.0.read_to_end(&mut Vec::new()).await;
        });
        let connection = connecting.await.unwrap();
        let mut channels = Vec::new();
        for _ in 0..4 {
            channels.push(within(connection.channel()).await.unwrap());
        }
        let error = connection.channel().await.unwrap_err();
        assert!(error.to_string().contains("no more channels"), "{error}");
        drop(channels.remove(1));
        // Its number is free when the server has heard of it.
        let again = async {
            loop {
                if let Ok(channel) = connection.channel().await {
                    return channel;
                }
                tokio::task::yield_now().await;
            }
        };
        within(again).await;
    });
}

#[test]
fn names_that_do_not_fit_are_refused_before_anything_is_sent() {
    block_on(async {
        let connecting = connect(async |mut server| {
            server.log_in().await;
            server.open_channel(1).await;
            let _ = server.0.read_to_end(&mut Vec::new()).await;
        });
        let connection = connecting.await.unwrap();
        let channel = within(connection.channel()).await.unwrap();
        let long = "x".repeat(256);
        let error = channel.look_at(&long).await.unwrap_err();
        assert!(matches!(error, LinkError::Unsayable(_)), "{error}");
        let arguments = Map::from_iter([("x-long".to_owned(), "x".repeat(5000).into())]);
        let declaring = channel.declare_queue("q", super::QueueFlags::default(), &arguments);
        let error = declaring.await.unwrap_err();
        assert!(matches!(error, LinkError::Unsayable(_)), "{error}");
        assert!(channel.is_open());
    });
}

#[test]
fn what_was_delivered_before_an_answer_is_there_with_it() {
    const DELIVERIES: u64 = 1000;
    block_on(async {
        let connecting = connect(async |mut server| {
            server.log_in().await;
            server.open_channel(1).await;
            for question in [id::QOS, id::CONSUME] {
                server.expect(question).await;
                server.say(1, id::answer(question), &[]).await;
            }
            server.expect(id::QUEUE_DECLARE).await;
            let mut out = Vec::new();
            for tag in 1..=DELIVERIES {
                method::put(&mut out, 1, id::DELIVER, |out| {
                    frame::put_short(out, "me");
                    out.extend(tag.to_be_bytes());
                    out.push(0);
                    frame::put_short(out, "");
                    frame::put_short(out, "jobs");
                });
                frame::put(&mut out, frame::HEADER, 1, |out| {
                    out.extend([0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
                });
                frame::put(&mut out, frame::BODY, 1, |out| out.push(b'x'));
            }
            server.0.write_all(&out).await.unwrap();
            server.say(1, id::QUEUE_DECLARE_OK, &[0; 9]).await;
            let _ = server.0.read_to_end(&mut Vec::new()).await;
        });
        let connection = connecting.await.unwrap();
        // In a task of its own, of which tokio wants that it lets others run now and then.
        let taking = tokio::spawn(async move {
            let channel = connection.channel().await.unwrap();
            let none = Map::new();
            let consuming = channel.consume("jobs", "me", 0, Consume::default(), &none);
            let mut stream = consuming.await.unwrap();
            channel.look_at("jobs").await.unwrap();
            let mut tags = Vec::new();
            while let Some(Some(incoming)) = stream.next().now_or_never() {
                let incoming = incoming.unwrap();
                assert_eq!(&incoming.body[..], b"x");
                tags.push(incoming.tag);
            }
            tags
        });
        let tags = within(taking).await.unwrap();
        assert_eq!(tags, (1..=DELIVERIES).collect::<Vec<_>>());
    });
}
