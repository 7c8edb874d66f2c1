#[celeriac::task]
fn push(values: &mut Vec<u64>) {
    values.push(1);
}

#[celeriac::task]
fn maybe(text: Option<&str>) -> bool {
    text.is_some()
}

#[celeriac::task]
fn forever(text: &'static str) -> usize {
    text.len()
}

#[celeriac::task]
fn object(text: &dyn std::fmt::Display) -> String {
    text.to_string()
}

fn main() {}
