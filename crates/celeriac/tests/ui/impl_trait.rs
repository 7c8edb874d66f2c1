#[celeriac::task]
fn total(values: impl Iterator<Item = u64>) -> u64 {
    values.sum()
}

#[celeriac::task]
fn lent(text: &impl AsRef<str>) -> usize {
    text.as_ref().len()
}

#[celeriac::task]
fn words() -> impl Iterator<Item = u64> {
    [1, 2].into_iter()
}

fn main() {}
