//! The packages of this workspace, as `cargo metadata` tells them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;

/// The packages of this workspace and where it stands.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it makes.
    pub(crate) target: PathBuf,
    /// The members, by name.
    pub(crate) packages: Vec<Package>,
}

/// One member of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// The folder of its manifest.
    pub(crate) folder: PathBuf,
    /// The features it declares, without `default`.
    pub(crate) features: Vec<String>,
    /// The members it depends on.
    pub(crate) edges: BTreeSet<Edge>,
}

/// That a package depends on another member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// The member depended on.
    pub(crate) to: String,
    /// Whether for its tests only.
    pub(crate) dev: bool,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version=1"])
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Self::parse(&serde_json::from_slice(&output.stdout)?)
    }

    fn parse(metadata: &Value) -> Result<Self> {
        let root = text(metadata, "workspace_root")?.into();
        let packages = list(metadata, "packages")?;
        let names = packages
            .iter()
            .map(|package| text(package, "name"))
            .collect::<Result<BTreeSet<_>>>()?;
        let mut packages = packages
            .iter()
            .map(|package| Package::parse(package, &names))
            .collect::<Result<Vec<_>>>()?;
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let target = text(metadata, "target_directory")?.into();
        Ok(Self {
            root,
            target,
            packages,
        })
    }

    /// The member called `name`.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

impl Package {
    fn parse(package: &Value, members: &BTreeSet<&str>) -> Result<Self> {
        let manifest = Path::new(text(package, "manifest_path")?);
        let features = package["features"].as_object().ok_or("no features")?;
        let mut edges = BTreeSet::new();
        for dependency in list(package, "dependencies")? {
            let to = text(dependency, "name")?;
            if members.contains(to) {
                let dev = dependency["kind"] == "dev";
                let to = to.to_owned();
                edges.insert(Edge { to, dev });
            }
        }
        Ok(Self {
            name: text(package, "name")?.to_owned(),
            folder: manifest.parent().unwrap_or(manifest).to_owned(),
            features: features
                .keys()
                .filter(|feature| *feature != "default")
                .cloned()
                .collect(),
            edges,
        })
    }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether cargo has the sub-command `name`, such as `nextest`.
pub(crate) fn cargo_has(name: &str) -> bool {
    cargo()
        .args([name, "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    let found = value[key].as_str();
    Ok(found.ok_or_else(|| format!("cargo metadata has no `{key}` here"))?)
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    let found = value[key].as_array();
    Ok(found.ok_or_else(|| format!("cargo metadata has no `{key}` here"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_edges_between_members_are_kept() {
        let metadata = json!({
            "workspace_root": "/somewhere",
            "target_directory": "/somewhere/target",
            "packages": [
                {
                    "name": "b", "manifest_path": "/somewhere/crates/b/Cargo.toml",
                    "features": {"default": ["x"], "x": [], "y": []},
                    "dependencies": [
                        {"name": "serde", "kind": null},
                        {"name": "a", "kind": null},
                        {"name": "a", "kind": "dev"},
                    ],
                },
                {
                    "name": "a", "manifest_path": "/somewhere/crates/a/Cargo.toml",
                    "features": {}, "dependencies": [],
                },
            ],
        });

        let workspace = Workspace::parse(&metadata).unwrap();

        assert_eq!(workspace.root, Path::new("/somewhere"));
        let b = workspace.package("b").unwrap();
        assert_eq!(b.folder, Path::new("/somewhere/crates/b"));
        assert_eq!(b.features, ["x", "y"]);
        let edges: Vec<_> = b.edges.iter().map(|edge| (&*edge.to, edge.dev)).collect();
        assert_eq!(edges, [("a", false), ("a", true)]);
    }
}
