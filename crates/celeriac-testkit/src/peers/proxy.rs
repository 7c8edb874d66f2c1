//! A network between a client and a server, with the faults that networks have.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::{select, try_join};

use super::pump::{End, Pump};
use super::weather::Weather;

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They are reset, all at once; new ones are good.
    Cut,
    /// They carry nothing, without a word, until [`TcpProxy::heal`]; nor do new ones.
    Hold,
    /// The same for what clients say only; what the server says arrives.
    HoldRequests,
    /// The same for what the server says only.
    HoldReplies,
    /// They are reset, and so are new ones until [`TcpProxy::heal`].
    Refuse,
}

/// Which way something is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What clients say.
    Requests,
    /// What the server says.
    Replies,
}

/// A port of this machine behind which a server seems to be.
///
/// It works on the runtime that it was started on. Dropping it cuts its connections.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    accepting: JoinHandle<()>,
}

impl TcpProxy {
    /// Stands before the server at `address`, a host and a port.
    ///
    /// # Errors
    ///
    /// If no port can be opened.
    pub async fn before(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let weather = watch::Sender::default();
        Ok(Self {
            address: listener.local_addr()?,
            accepting: tokio::spawn(accept(listener, address.to_owned(), weather.clone())),
            weather,
        })
    }

    /// Stands before the server of `url`; also gives the URL by which clients come through here.
    ///
    /// # Errors
    ///
    /// If no port can be opened, or `url` has no host and port.
    pub async fn before_url(url: &str) -> io::Result<(Self, String)> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "it has no host and port");
        let start = url.find("://").ok_or_else(invalid)? + 3;
        let end = url[start..]
            .find(['/', '?'])
            .map_or(url.len(), |at| start + at);
        let start = url[..end].rfind('@').map_or(start, |at| at + 1);
        let address = url[start..end].split_once(':').ok_or_else(invalid)?;
        let proxy = Self::before(&format!("{}:{}", address.0, address.1)).await?;
        let through = format!("{}{}{}", &url[..start], proxy.address, &url[end..]);
        Ok((proxy, through))
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets a fault happen now.
    pub fn strike(&self, fault: Fault) {
        self.weather.send_modify(|weather| weather.strike(fault));
    }

    /// Lets a fault happen as soon as a reply that contains `marker` has been passed on to the
    /// client whole.
    pub fn strike_after_reply(&self, marker: &[u8], fault: Fault) {
        self.weather.send_modify(|weather| {
            weather.trap = Some((marker.into(), fault));
            weather.sprung = false;
        });
    }

    /// Ends each connection once it has carried `bytes` this way, until [`heal`](Self::heal): in the middle
    /// of a frame, as a rule. Connections that have carried more end with the next byte.
    pub fn tear_after(&self, way: Way, bytes: usize) {
        self.weather.send_modify(|weather| {
            weather.torn = Some((way, bytes));
            weather.sprung = false;
        });
    }

    /// Waits until the fault of [`strike_after_reply`](Self::strike_after_reply) or
    /// [`tear_after`](Self::tear_after) has happened.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn struck(&self) {
        let mut weather = self.weather.subscribe();
        // The sender is ours, so it lives as long as we wait.
        let _ = weather.wait_for(|weather| weather.sprung).await;
    }

    /// Delays what is carried by so much, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Carries so many bytes in a second, in each direction.
    pub fn narrow(&self, bytes_per_s: u32) {
        self.weather
            .send_modify(|weather| weather.bytes_per_s = bytes_per_s);
    }

    /// Ends all faults. Connections that were held carry on as if nothing had been.
    pub fn heal(&self) {
        self.weather.send_modify(|weather| {
            *weather = Weather {
                cuts: weather.cuts,
                sprung: weather.sprung,
                ..Weather::default()
            };
        });
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.strike(Fault::Refuse);
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: String, weather: watch::Sender<Weather>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Weather { refused, cuts, .. } = *weather.borrow();
        if refused {
            reset(&client);
        } else {
            connections.spawn(carry(client, server.clone(), weather.clone(), cuts));
        }
        // What ended needs no memory any more.
        while connections.try_join_next().is_some() {}
    }
}

/// Carries one connection to its end, which a cut is that comes after the first `cuts`.
async fn carry(mut client: TcpStream, server: String, weather: watch::Sender<Weather>, cuts: u64) {
    let mut sky = weather.subscribe();
    // A network that carries one direction lets a connection be made.
    let _ = sky.wait_for(|weather| weather.held != [true; 2]).await;
    let Ok(mut server) = TcpStream::connect(&server).await else {
        reset(&client);
        return;
    };
    // Small frames must not wait for one another; both fail only on a connection that has ended.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump::new(to_server, &weather, Way::Requests);
        let down = Pump::new(to_client, &weather, Way::Replies);
        select! {
            // Nothing is carried after a cut.
            biased;
            _ = sky.wait_for(|weather| weather.cuts > cuts) => End::Cut,
            ended = async { try_join!(up.run(from_client), down.run(from_server)) } => ended.err().unwrap_or(End::Closed),
        }
    };
    match end {
        End::Cut => {
            reset(&client);
            reset(&server);
        }
        // Not before everything has ended here, or who hears of it first may see it go on.
        End::Torn => {
            drop((client, server));
            weather.send_modify(|weather| weather.sprung = true);
        }
        End::Closed => {}
    }
}

/// Makes the end of a connection an abrupt one.
fn reset(stream: &TcpStream) {
    // It fails only on a connection that has ended.
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{block_on, within};

    /// A server that gives back what it gets, and a client that reaches it through a proxy.
    async fn echo() -> (TcpProxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("echo://user:word@{}/path", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let (proxy, through) = TcpProxy::before_url(&url).await.unwrap();
        assert_eq!(
            through,
            format!("echo://user:word@{}/path", proxy.address())
        );
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, client)
    }

    async fn say(client: &mut TcpStream, word: &[u8]) -> io::Result<Vec<u8>> {
        client.write_all(word).await?;
        let mut heard = vec![0; word.len()];
        client.read_exact(&mut heard).await?;
        Ok(heard)
    }

    #[test]
    fn what_is_said_is_carried_both_ways_until_a_side_closes() {
        block_on(async {
            let (_proxy, mut client) = echo().await;
            assert_eq!(within(say(&mut client, b"hello")).await.unwrap(), b"hello");
            client.shutdown().await.unwrap();
            assert_eq!(within(client.read(&mut [0])).await.unwrap(), 0);
        });
    }

    #[test]
    fn a_cut_resets_old_connections_and_leaves_new_ones_alone() {
        block_on(async {
            let (proxy, mut client) = echo().await;
            within(say(&mut client, b"hello")).await.unwrap();
            proxy.strike(Fault::Cut);
            let error = within(client.read(&mut [0])).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

            let mut client = TcpStream::connect(proxy.address()).await.unwrap();
            assert_eq!(within(say(&mut client, b"again")).await.unwrap(), b"again");
        });
    }

    #[test]
    fn what_is_held_comes_when_it_has_healed() {
        block_on(async {
            let (proxy, mut client) = echo().await;
            proxy.strike(Fault::Hold);
            let patience = Duration::from_millis(100);
            let early = tokio::time::timeout(patience, say(&mut client, b"hello")).await;
            assert!(early.is_err());
            proxy.heal();
            let mut heard = [0; 5];
            within(client.read_exact(&mut heard)).await.unwrap();
            assert_eq!(&heard, b"hello");
        });
    }

    #[test]
    fn who_is_refused_is_reset_until_it_has_healed() {
        block_on(async {
            let (proxy, mut client) = echo().await;
            proxy.strike(Fault::Refuse);
            within(say(&mut client, b"hello")).await.unwrap_err();
            // The reset may be quicker than the client's own part of connecting.
            if let Ok(mut client) = TcpStream::connect(proxy.address()).await {
                within(say(&mut client, b"hello")).await.unwrap_err();
            }
            proxy.heal();
            let mut client = TcpStream::connect(proxy.address()).await.unwrap();
            assert_eq!(within(say(&mut client, b"hello")).await.unwrap(), b"hello");
        });
    }

    #[test]
    fn a_torn_connection_carries_so_many_bytes_and_no_more() {
        for way in [Way::Requests, Way::Replies] {
            block_on(async {
                let (proxy, mut client) = echo().await;
                proxy.tear_after(way, 3);
                client.write_all(b"hello").await.unwrap();
                let mut heard = Vec::new();
                // What comes back of the requests may be lost with the connection.
                let ended = within(client.read_to_end(&mut heard)).await;
                assert!(b"hel".starts_with(&heard), "{heard:?}");
                assert!(way == Way::Requests || (ended.is_ok() && heard == b"hel"));
                within(proxy.struck()).await;
                proxy.heal();
                let mut client = TcpStream::connect(proxy.address()).await.unwrap();
                assert_eq!(within(say(&mut client, b"hello")).await.unwrap(), b"hello");
            });
        }
    }

    #[test]
    fn a_narrow_network_takes_its_time() {
        block_on(async {
            let (proxy, mut client) = echo().await;
            proxy.narrow(10_000);
            let begun = std::time::Instant::now();
            within(say(&mut client, &[7; 1000])).await.unwrap();
            assert!(begun.elapsed() >= Duration::from_millis(200));
        });
    }

    #[test]
    fn a_fault_after_a_reply_lets_the_reply_through_though_it_comes_in_pieces() {
        block_on(async {
            let (proxy, mut client) = echo().await;
            proxy.strike_after_reply(b"order 7", Fault::Cut);
            assert_eq!(
                within(say(&mut client, b"an ord")).await.unwrap(),
                b"an ord"
            );
            assert_eq!(within(say(&mut client, b"er 7")).await.unwrap(), b"er 7");
            within(proxy.struck()).await;
            within(client.read(&mut [0])).await.unwrap_err();
        });
    }
}
