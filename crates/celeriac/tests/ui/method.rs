struct Shop;

impl Shop {
    #[celeriac::task]
    fn charge(&self, order: u64) -> u64 {
        order
    }
}

fn main() {}
