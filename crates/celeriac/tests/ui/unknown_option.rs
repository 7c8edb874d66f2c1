#[celeriac::task(retry = 5)]
fn one() {}

#[celeriac::task(quue = "money")]
fn two() {}

#[celeriac::task(serialisation = "pickle", time_limt)]
fn three() {}

fn main() {}
