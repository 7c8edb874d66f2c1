use celeriac::Context;

#[celeriac::task]
fn twice(one: &Context, other: Context) -> bool {
    one.id() == other.id()
}

#[celeriac::task]
fn changed(context: &mut Context) {
    let _ = context;
}

fn main() {}
