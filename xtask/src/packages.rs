//! Outside clients and peers of the tests, out of PyPI and npm: each in the version that the tests were written with, in
//! folders of their own below the cache, where the tests look for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::process;

const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A package and its version.
type Package = (&'static str, &'static str);

/// A registry, and what the tests need of it.
pub(crate) struct Registry {
    pub(crate) name: &'static str,
    /// The folder below the cache.
    folder: &'static str,
    packages: &'static [Package],
    /// The program and what comes before the folder.
    install: &'static [&'static str],
    /// Between name and version.
    pin: &'static str,
    is_there: fn(&Path, Package) -> bool,
}

pub(crate) const REGISTRIES: [Registry; 2] = [
    Registry {
        name: "packages of PyPI",
        folder: "python",
        packages: &[
            ("authlib", "1.9.10"),
            ("karrio", "2026.1.32"),
            ("karrio-laposte", "2026.1.32"),
            ("mmdb_writer", "0.2.7"),
            ("pyiso20022", "1.6.2"),
            ("pyiso8583", "4.0.1"),
            ("requests", "2.34.2"),
            ("schemathesis", "4.32.5"),
            ("xsdata", "26.10"),
        ],
        // Beside all installations of Python's, none of which is touched.
        install: &["python3", "-m", "pip", "install", "--quiet", "--upgrade", "--target"],
        pin: "==",
        is_there: of_pypi,
    },
    Registry {
        name: "packages of npm",
        folder: "npm",
        packages: &[("axe-core", "4.14.1"), ("smpp", "0.5.1")],
        install: &["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"],
        pin: "@",
        is_there: of_npm,
    },
];

/// Where what the suite installs for itself is kept.
pub(crate) fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, |home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").map_or(home, PathBuf::from).join("guichet")
}

impl Registry {
    /// Looks for the packages in the cache, and installs them there where one is missing and `install` is true.
    ///
    /// # Errors
    /// With the command that installs them, when one is missing then.
    pub(crate) fn ensure(&self, cache: &Path, install: bool) -> anyhow::Result<()> {
        let folder = cache.join(self.folder);
        let whole = || self.packages.iter().all(|&package| (self.is_there)(&folder, package));
        if whole() {
            return Ok(());
        }
        let pinned = self.packages.iter().map(|(name, version)| format!("{name}{}{version}", self.pin));
        let packages: Vec<String> = pinned.collect();
        let mend = format!("{} {} {}", self.install.join(" "), folder.display(), packages.join(" "));
        if !install {
            bail!("{mend}");
        }
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        println!("installing {}", packages.join(", "));
        let mut command = Command::new(self.install[0]);
        command.args(&self.install[1..]).arg(&folder).args(&packages);
        let ran = process::run(&mut command, INSTALL_LIMIT);
        if !ran.succeeded() || !whole() {
            bail!("{mend} ({})", ran.why());
        }
        Ok(())
    }
}

/// pip writes a folder `name-version.dist-info`, the name in small letters and with `_` for `-`.
fn of_pypi(folder: &Path, (name, version): Package) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    folder.join(format!("{name}-{version}.dist-info/METADATA")).is_file()
}

fn of_npm(folder: &Path, (name, version): Package) -> bool {
    let about = std::fs::read_to_string(folder.join("node_modules").join(name).join("package.json"));
    about.is_ok_and(|about| about.contains(&format!("\"version\": \"{version}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_the_command_and_what_is_there_is_found() {
        let cache = std::env::temp_dir().join(format!("guichet-packages-{}", std::process::id()));
        for registry in &REGISTRIES {
            let told = registry.ensure(&cache, false).unwrap_err().to_string();
            for (name, version) in registry.packages {
                assert!(told.contains(&format!("{name}{}{version}", registry.pin)), "{told}");
            }
            assert!(told.contains(&cache.join(registry.folder).display().to_string()), "{told}");
        }
        assert!(!cache.exists(), "looking makes nothing");
        let put = |path: String, text: &str| {
            let file = cache.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        for (name, version) in REGISTRIES[0].packages {
            let name = name.to_ascii_lowercase().replace('-', "_");
            put(format!("python/{name}-{version}.dist-info/METADATA"), "");
        }
        for (name, version) in REGISTRIES[1].packages {
            put(format!("npm/node_modules/{name}/package.json"), &format!("{{\n  \"version\": \"{version}\"\n}}"));
        }
        let found = REGISTRIES.each_ref().map(|registry| registry.ensure(&cache, false).is_ok());
        put("npm/node_modules/smpp/package.json".into(), "{\"version\": \"0.0.1\"}");
        let other = REGISTRIES[1].ensure(&cache, false).is_err();
        std::fs::remove_dir_all(&cache).unwrap();
        assert_eq!((found, other), ([true, true], true), "another version is not the one");
    }
}
