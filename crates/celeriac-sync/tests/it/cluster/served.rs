//! A manager in a process of its own, so that its memory can be measured.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use celeriac_sync::cluster::{Cluster, Dict, Lock, Manager, ManagerKey, Options, Queue};
use celeriac_testkit::peers::certify;

const KEY: &str = "CELERIAC_MANAGER_KEY";
const CERTIFIED: &str = "CELERIAC_MANAGER_TLS";

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Served {
    process: Child,
    pub(super) address: SocketAddr,
    pub(super) key: PathBuf,
    folder: tempfile::TempDir,
    encrypted: bool,
}

/// Writes a key that only its owner can read.
pub(super) fn write_key(folder: &Path, name: &str, key: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, key).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Serves for a test. By itself it is no test.
#[test]
fn serves() {
    let Some(key) = env::var_os(KEY) else {
        return;
    };
    let key = ManagerKey::read(Path::new(&key)).unwrap();
    let mut manager = Manager::bind("127.0.0.1:0", Some(key)).unwrap();
    if let Some(folder) = env::var_os(CERTIFIED) {
        let file = |name| Path::new(&folder).join(name);
        let encrypted = manager.encrypted(&file("own.pem"), &file("own.key"));
        manager = encrypted.unwrap();
    }
    let line = format!("serves: {}\n", manager.address());
    io::stdout().write_all(line.as_bytes()).unwrap();
    manager.run().unwrap();
}

impl Served {
    pub(super) fn start() -> Self {
        Self::start_as(false)
    }

    /// Over TLS, as `localhost`.
    pub(super) fn start_encrypted() -> Self {
        Self::start_as(true)
    }

    fn start_as(encrypted: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = write_key(folder.path(), "key", &"k".repeat(40));
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "cluster::served::serves", "--nocapture"])
            .env(KEY, &key)
            .stdout(Stdio::piped());
        if encrypted {
            certify(folder.path());
            command.env(CERTIFIED, folder.path());
        }
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut said = lines.map_while(Result::ok);
        let address = said.find_map(|line| line.strip_prefix("serves: ").map(str::to_owned));
        Self {
            process,
            address: address.unwrap().parse().unwrap(),
            key,
            folder,
            encrypted,
        }
    }

    /// Its address for those who speak to it `as` somebody.
    pub(super) fn place_at(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}", self.address.port())
    }

    pub(super) fn options(&self) -> Options {
        let scheme = if self.encrypted {
            "managers"
        } else {
            "manager"
        };
        Options::new(&self.place_at(scheme, "localhost"))
            .key_file(&self.key)
            .ca_file(self.authority())
    }

    /// The file with the authority that vouches for it.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(super) fn connect(&self) -> Cluster {
        self.options().connect().unwrap()
    }

    pub(super) fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What it has in memory, in bytes.
    pub(super) fn memory(&self) -> u64 {
        let pages = fs::read_to_string(format!("/proc/{}/statm", self.process.id())).unwrap();
        let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    /// Bears 10,000 connections that say no more than `words`, and a good client does not notice.
    pub(super) fn bears_half_open_connections(&self, words: &[u8]) {
        let good = self.connect();
        let (queue, dict) = (
            Queue::named(&good, "good", 100).unwrap(),
            Dict::<u32, u32>::named(&good, "dict").unwrap(),
        );
        let round = || {
            let start = Instant::now();
            queue.put(7).unwrap();
            assert_eq!(*queue.get().unwrap(), 7);
            dict.set(1, 2).unwrap();
            start.elapsed()
        };
        let calm: Vec<_> = (0..500).map(|_| round()).collect();
        let before = self.memory();
        let (mut times, mut open) = (Vec::new(), Vec::new());
        thread::scope(|scope| {
            let attack = scope.spawn(|| {
                (0..10_000).for_each(|_| {
                    let stream = TcpStream::connect_timeout(&self.address, PATIENCE);
                    // One that was closed already has done its harm.
                    open.extend(stream.and_then(|mut it| it.write_all(words).map(|()| it)));
                    // No more files than a test may have; the manager has closed the older ones.
                    if open.len() > 800 {
                        open.drain(..400);
                    }
                });
            });
            while !attack.is_finished() || times.len() < 500 {
                times.push(round());
            }
        });
        // What else the machine does is as much in the way of who is not attacked.
        let bearable = Duration::from_millis(50).max(4 * slowest(calm));
        let slow = slowest(times);
        assert!(slow <= bearable, "{slow:?}, not {bearable:?}");
        let more = self.memory().saturating_sub(before);
        assert!(more <= 50 << 20, "{more}");
        // Others get in all the same.
        let other = Lock::named(&self.connect(), "other").unwrap();
        assert!(other.lock_for(PATIENCE).is_ok());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The time that 99 of 100 do not exceed.
fn slowest(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}
