#[celeriac::task]
fn add((a, b): (u64, u64)) -> u64 {
    a + b
}

#[celeriac::task]
fn by_ref(ref text: String) -> usize {
    text.len()
}

fn main() {}
