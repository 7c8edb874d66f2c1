//! The server: three pages, to few at a time and to none for long.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_worker::Life;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::Shared;

/// The most connections at once. The oldest gives way to a new one: a probe is answered in
/// milliseconds, so what is old is slow.
const MOST: usize = 32;
/// How long a request may take to arrive.
const ARRIVE: Duration = Duration::from_secs(5);
/// How long a connection lasts.
const LAST: Duration = Duration::from_secs(15);
/// The longest head of a request, in bytes: the least that hyper takes.
const HEAD_BYTES: usize = 8192;

/// The type of Prometheus' text.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers for ever.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                connections.add(tokio::spawn(converse(stream, shared)).abort_handle());
            }
            Err(error) => {
                debug!(%error, "a connection was not accepted");
                // Of file descriptors there may be more in a while.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Those that are open, the oldest first. They end with the server.
#[derive(Default)]
struct Connections(VecDeque<AbortHandle>);

impl Connections {
    fn add(&mut self, connection: AbortHandle) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        for connection in &self.0 {
            connection.abort();
        }
    }
}

/// One connection, on which one request is answered.
async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&request, &shared).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ARRIVE)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever asked badly, or has left, has no answer.
    let _ = timeout(LAST, connection).await;
}

async fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/livez" | "/readyz" | "/metrics") {
        return page(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /livez, /readyz and /metrics\n",
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = page(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "this can be read only\n",
        );
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allowed);
        return refused;
    }
    let worker = shared.worker.get();
    match path {
        "/metrics" => page(
            StatusCode::OK,
            METRICS,
            shared.pages.metrics(worker, shared.since).await,
        ),
        "/livez" => match worker {
            Some(worker) if worker.life().await == Life::Stuck => {
                unwell("the dispatcher does not answer")
            }
            _ => page(StatusCode::OK, TEXT, "ok\n"),
        },
        _ => match worker {
            None => unwell("the worker is starting"),
            Some(worker) => match worker.readiness().await {
                Ok(()) => page(StatusCode::OK, TEXT, "ok\n"),
                Err(why) => unwell(&why.to_string()),
            },
        },
    }
}

fn unwell(why: &str) -> Response<Full<Bytes>> {
    page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n"))
}

fn page(status: StatusCode, sort: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut page = Response::new(Full::new(text.into()));
    *page.status_mut() = status;
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(sort));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    page
}
