//! What `#[celeriac::main]` makes of `main`.

use std::process::ExitCode;

mod plain {
    #[celeriac::main]
    pub(super) fn main() {}
}

mod coded {
    #[celeriac::main]
    pub(super) fn main() -> std::process::ExitCode {
        std::process::ExitCode::from(7)
    }
}

mod failing {
    #[celeriac::main]
    pub(super) fn main() -> std::io::Result<()> {
        Err(std::io::Error::other("no luck"))
    }
}

mod boxed {
    #[celeriac::main]
    pub(super) fn main() -> Result<(), Box<dyn std::error::Error>> {
        Err("no luck".into())
    }
}

mod boxed_sendable {
    use std::process::ExitCode;

    #[celeriac::main]
    pub(super) async fn main() -> Result<ExitCode, celeriac::BoxError> {
        "x".parse::<u8>()?;
        Ok(ExitCode::SUCCESS)
    }
}

mod configured {
    use celeriac::{Registry, RegistryError};

    #[celeriac::main]
    pub(super) async fn main() -> Result<(), RegistryError> {
        Registry::default().require_tasks()
    }
}

mod multi_thread {
    use tokio::runtime::{Handle, RuntimeFlavor};

    #[celeriac::main(flavor = "multi_thread", worker_threads = 3)]
    pub(super) async fn main() {
        assert_eq!(
            Handle::current().runtime_flavor(),
            RuntimeFlavor::MultiThread
        );
        assert_eq!(Handle::current().metrics().num_workers(), 3);
        tokio::spawn(async {}).await.unwrap();
    }
}

mod current_thread {
    use tokio::runtime::{Handle, RuntimeFlavor};

    #[celeriac::main(flavor = "current_thread")]
    pub(super) async fn main() -> Result<(), std::fmt::Error> {
        assert_eq!(
            Handle::current().runtime_flavor(),
            RuntimeFlavor::CurrentThread
        );
        // The future of `main` need not be `Send`.
        let local = std::rc::Rc::new(1);
        tokio::task::yield_now().await;
        assert_eq!(*local, 1);
        Ok(())
    }
}

mod by_default {
    use tokio::runtime::{Handle, RuntimeFlavor};

    #[celeriac::main]
    pub(super) async fn main() {
        assert_eq!(
            Handle::current().runtime_flavor(),
            RuntimeFlavor::MultiThread
        );
    }
}

#[test]
fn main_ends_with_the_exit_code_of_what_it_returned() {
    type Main = fn() -> ExitCode;
    let ends: [(&str, Main, u8); 9] = [
        ("plain", plain::main, 0),
        ("coded", coded::main, 7),
        ("failing", failing::main, 1),
        ("boxed", boxed::main, 1),
        ("boxed_sendable", boxed_sendable::main, 1),
        ("configured", configured::main, 3),
        ("multi_thread", multi_thread::main, 0),
        ("current_thread", current_thread::main, 0),
        ("by_default", by_default::main, 0),
    ];
    for (name, main, code) in ends {
        // `ExitCode` cannot be compared, but it can be shown.
        assert_eq!(
            format!("{:?}", main()),
            format!("{:?}", ExitCode::from(code)),
            "{name}"
        );
    }
}
