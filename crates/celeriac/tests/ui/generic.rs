#[celeriac::task]
fn largest<T: Ord>(values: Vec<T>) -> Option<T> {
    values.into_iter().max()
}

#[celeriac::task]
fn shortest<'a>(text: &'a str) -> usize {
    text.len()
}

#[celeriac::task]
fn bounded(n: u64) -> u64
where
    u64: Copy,
{
    n
}

fn main() {}
