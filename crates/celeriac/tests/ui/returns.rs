#[celeriac::task]
fn endless() -> ! {
    loop {}
}

#[celeriac::task]
fn lent(text: &str) -> &str {
    text
}

#[celeriac::task]
fn inner(n: u8) -> Result<&'static str, std::fmt::Error> {
    let _ = n;
    Ok("x")
}

fn main() {}
