#[celeriac::task(retries = 1, backoff = "linear")]
fn unknown() {}

#[celeriac::task(retries = 1, backoff = "exponential(1s)")]
fn half() {}

#[celeriac::task(retries = 1, backoff = "fixed(soon)")]
fn soon() {}

#[celeriac::task(retries = 1, backoff = "exponential(10m, 1s)")]
fn swapped() {}

#[celeriac::task(backoff = "fixed(1s)")]
fn idle() {}

fn main() {}
