#[celeriac::task]
unsafe fn trusting(n: u64) -> u64 {
    n
}

#[celeriac::task]
extern "C" fn foreign(n: u64) -> u64 {
    n
}

#[celeriac::task]
const fn early(n: u64) -> u64 {
    n
}

fn main() {}
