#[celeriac::task(time_limit = "30")]
fn unitless() {}

#[celeriac::task(expires = "1.5h")]
fn fraction() {}

#[celeriac::task(time_limit = "0s")]
fn nothing() {}

#[celeriac::task(time_limit = 30)]
fn number() {}

fn main() {}
