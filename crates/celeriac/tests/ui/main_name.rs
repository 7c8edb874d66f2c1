#[celeriac::main]
fn start() {}

fn main() {}
