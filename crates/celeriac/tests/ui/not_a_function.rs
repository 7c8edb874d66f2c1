#[celeriac::task]
struct Charge;

#[celeriac::task]
mod tasks {}

fn main() {}
