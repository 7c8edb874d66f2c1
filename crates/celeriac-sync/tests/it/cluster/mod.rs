//! The scope of clusters, with each of its stores.

mod attacks;
mod encrypted;
mod kills;
mod scope;
mod served;

/// The URL of the Redis that all tests share.
fn redis_url() -> String {
    std::env::var("CELERIAC_TEST_REDIS").expect(
        "this test needs CELERIAC_TEST_REDIS, which `cargo xtask test` sets; \
         to run it alone, take it from `cargo xtask servers`",
    )
}

/// In memory.
mod memory {
    use celeriac_sync::cluster::Cluster;

    fn place() -> Cluster {
        Cluster::connect("memory:suite").unwrap()
    }

    super::scope::scope!(super::place);
}

/// In a file.
mod sqlite {
    use std::sync::LazyLock;

    use celeriac_sync::cluster::Cluster;

    pub(super) fn address() -> String {
        static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
        let path = FOLDER.path().join("shared.db");
        format!("sqlite:{}", path.display())
    }

    fn place() -> Cluster {
        Cluster::connect(&address()).unwrap()
    }

    super::scope::scope!(super::place);
}

/// In a Redis.
mod redis {
    use celeriac_sync::cluster::Cluster;

    fn place() -> Cluster {
        Cluster::connect(&super::redis_url()).unwrap()
    }

    super::scope::scope!(super::place);
}

/// At a manager.
mod manager {
    use std::sync::LazyLock;
    use std::thread;

    use celeriac_sync::cluster::{Cluster, Manager};

    pub(super) fn address() -> String {
        static ADDRESS: LazyLock<String> = LazyLock::new(|| {
            let manager = Manager::bind("127.0.0.1:0", None).unwrap();
            let address = manager.address();
            thread::spawn(|| manager.run());
            format!("manager://{address}")
        });
        ADDRESS.clone()
    }

    fn place() -> Cluster {
        Cluster::connect(&address()).unwrap()
    }

    super::scope::scope!(super::place);
}
