struct Secret;

#[celeriac::task]
fn take(secret: Secret) {
    let _ = secret;
}

#[celeriac::task]
fn give() -> Secret {
    Secret
}

fn main() {}
