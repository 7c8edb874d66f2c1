#[celeriac::task(retries = 1, retry_if = std::convert::identity)]
fn plain(n: bool) -> bool {
    n
}

#[celeriac::task(retries = 1, retry_if = is_transient)]
fn other_error(n: u8) -> Result<u8, std::fmt::Error> {
    Ok(n)
}

fn is_transient(_: &std::io::Error) -> bool {
    true
}

fn main() {}
