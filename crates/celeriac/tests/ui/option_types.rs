#[celeriac::task(queue = 5, retries = "5", jitter = 1)]
fn one() {}

#[celeriac::task(retries = -1)]
fn two() {}

#[celeriac::task(priority = 10)]
fn three() {}

#[celeriac::task(jitter)]
fn four() {}

#[celeriac::task(name = charge)]
fn five() {}

#[celeriac::task("shop.charge")]
fn six() {}

#[celeriac::task(queue = "a" priority = 1)]
fn seven() {}

fn main() {}
