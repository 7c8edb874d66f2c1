#[celeriac::task(time_limit = "30s", soft_time_limit = "30s")]
fn equal() {}

#[celeriac::task(soft_time_limit = "1m", time_limit = "30s")]
fn longer() {}

fn main() {}
