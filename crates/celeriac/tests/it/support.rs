//! What the tests of places share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use celeriac::{App, LocalWorker, Place};
use celeriac_testkit::peers::{VirtualHost, redis_url, unique};

/// A place opened for a test, with what it needs around it.
pub(crate) struct Site {
    app: App,
    _worker: Option<LocalWorker>,
    _folder: tempfile::TempDir,
    _host: Option<VirtualHost>,
}

impl Site {
    /// Opens `place`, perhaps `with` another one that keeps its results; a broker in a folder, a
    /// virtual host or under a prefix of its own, with a worker on two threads.
    pub(crate) async fn open(place: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = place.contains("OWN_AMQP").then(VirtualHost::create);
        let fill = |text: &str| {
            let mut text = text.replace("FOLDER", folder.path().to_str().unwrap());
            if let Some(host) = &host {
                text = text.replace("OWN_AMQP", &host.url());
            }
            if text == "OWN_REDIS" {
                text = format!("{}?global_keyprefix={}", redis_url(), unique("site"));
            }
            text
        };
        let (place, results) = match place.split_once(" with ") {
            Some((place, results)) => (place, Some(results)),
            None => (place, None),
        };
        let mut builder = App::builder();
        if let Some(results) = results {
            builder = builder.results(fill(results));
        }
        let app = builder.on(fill(place)).await.unwrap();
        let worker = match app.place() {
            Place::Broker(_) => Some(app.start_worker("threads=2").await.unwrap()),
            _ => None,
        };
        Self {
            app,
            _worker: worker,
            _folder: folder,
            _host: host,
        }
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn is_broker(&self) -> bool {
        matches!(self.app.place(), Place::Broker(_))
    }

    /// Whether calls run somewhere else than in the caller.
    pub(crate) fn runs_elsewhere(&self) -> bool {
        *self.app.place() != Place::Inline
    }

    /// Whether arguments leave this process.
    pub(crate) fn encodes(&self) -> bool {
        matches!(self.app.place(), Place::Broker(_) | Place::Processes { .. })
    }

    /// At most so many chunks are under way.
    pub(crate) fn slots(&self) -> usize {
        match self.app.place() {
            Place::Broker(_) => 16,
            Place::Coroutines(_)
            | Place::Processes {
                coroutines: Some(_),
                ..
            } => 8,
            _ => 2,
        }
    }
}

/// Runs each behaviour, a function of a [`Site`] in this module or in the one that is named around it,
/// against each place; those `on_full` only against the places that can do all.
macro_rules! suite {
    (full $full:tt partial $partial:tt on_all { $($on_all:tt)* } on_full { $($on_full:tt)* }) => {
        $crate::support::suite! { places $full $($on_all)* $($on_full)* }
        $crate::support::suite! { places $partial $($on_all)* }
    };
    (places { $($place:ident = $text:expr;)* } $($behaviour:ident;)*) => {
        $crate::support::suite! { @each [$($place = $text;)*] [here { $(super::$behaviour)* }] }
    };
    (places { $($place:ident = $text:expr;)* } $($file:ident { $($behaviour:ident;)* })*) => {
        $crate::support::suite! {
            @each [$($place = $text;)*] [$($file { $($behaviour)* })*]
        }
    };
    (@each [$($place:ident = $text:expr;)*] $behaviours:tt) => {
        $($crate::support::suite! { @place $place $text; $behaviours })*
    };
    (@place $place:ident $text:expr; [here { $(super::$behaviour:ident)* }]) => {
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    let site = $crate::support::Site::open($text).await;
                    $crate::support::in_time(super::$behaviour(site)).await;
                }
            )*
        }
    };
    (@place $place:ident $text:expr; [$($file:ident { $($behaviour:ident)* })*]) => {
        mod $place {
            $(
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $behaviour() {
                        let site = $crate::support::Site::open($text).await;
                        $crate::support::in_time(super::$file::$behaviour(site)).await;
                    }
                )*
            )*
        }
    };
}
pub(crate) use suite;

/// A piece of work of about a millisecond.
pub(crate) fn nap() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Fails a test that hangs instead of letting it hang.
pub(crate) async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), test)
        .await
        .expect("the test ends within a minute")
}

/// An example of this crate, which `cargo test` builds beside the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().and_then(Path::parent).unwrap();
    let example = folder.join("examples").join(name);
    let missing = format!("build it first: cargo build --example {name}");
    assert!(example.exists(), "{missing}");
    example
}
