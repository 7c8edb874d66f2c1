mod sync {
    #[celeriac::main(worker_threads = 2)]
    fn main() {}
}

mod unknown {
    #[celeriac::main(flavour = "current_thread")]
    async fn main() {}
}

mod flavor {
    #[celeriac::main(flavor = "gevent")]
    async fn main() {}
}

mod threads {
    #[celeriac::main(flavor = "current_thread", worker_threads = 2)]
    async fn main() {}
}

mod none {
    #[celeriac::main(worker_threads = 0)]
    async fn main() {}
}

fn main() {}
