//! The Python side, which travels in this program.

/// What `python -c` is given.
pub(crate) const BOOT: &str = include_str!("../../../python/celeriac_child/boot.py");

/// The module that `BOOT` hands over to.
pub(crate) const MAIN: &str = "celeriac_child.server";

macro_rules! modules {
    ($($name:literal)*) => {
        &[
            ("celeriac_child", include_str!("../../../python/celeriac_child/__init__.py")),
            $((
                concat!("celeriac_child.", $name),
                include_str!(concat!("../../../python/celeriac_child/", $name, ".py")),
            ),)*
        ]
    };
}

/// Modules, with their sources.
pub(crate) const MODULES: &[(&str, &str)] = modules! {
    "app"
    "calls"
    "child"
    "coroutines"
    "errors"
    "frames"
    "json_lines"
    "logs"
    "loops"
    "parts"
    "piped"
    "report"
    "server"
    "service"
    "shortcuts"
    "threads"
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn every_module_travels() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/celeriac_child");
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.extension().is_none_or(|end| end != "py")
                || stem == "boot"
                || stem == "__init__"
            {
                continue;
            }
            let name = format!("celeriac_child.{stem}");
            assert!(
                MODULES.iter().any(|(known, _)| *known == name),
                "{name} is missing"
            );
        }
    }
}
