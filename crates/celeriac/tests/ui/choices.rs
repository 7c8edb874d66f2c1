#[celeriac::task(retries = 1, retry_on = "error | segfault")]
fn retry_on() {}

#[celeriac::task(ack = "late")]
fn ack() {}

#[celeriac::task(rate_limit = "10/d")]
fn rate_limit() {}

#[celeriac::task(results = "forget")]
fn results() {}

fn main() {}
