#[celeriac::task(queue = "")]
fn empty() {}

#[celeriac::task(queue = "a,b")]
fn comma() {}

#[celeriac::task(name = "a\nb")]
fn control() {}

#[celeriac::task(crate = "not a path")]
fn elsewhere() {}

fn main() {}
