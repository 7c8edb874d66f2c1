#[celeriac::task(queue = "a", retries = 1, queue = "b")]
fn one() {}

fn main() {}
