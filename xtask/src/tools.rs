//! The tools that tasks need, each at one version, outside of the clone.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::shell::{Result, cargo, shell};

/// A program from crates.io.
pub(crate) struct Tool {
    package: &'static str,
    version: &'static str,
    build: Build,
}

/// How a tool is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// What runs for seconds need not be optimised for minutes.
    Quick,
    /// As its makers do.
    Release,
}

pub(crate) const DENY: Tool = Tool {
    package: "cargo-deny",
    version: "0.20.2",
    build: Build::Quick,
};

pub(crate) const FUZZ: Tool = Tool {
    package: "cargo-fuzz",
    version: "0.13.2",
    build: Build::Quick,
};

/// The load on a server, which is measured with it.
pub(crate) const OHA: Tool = Tool {
    package: "oha",
    version: "1.16.0",
    build: Build::Release,
};

/// Packages from PyPI that work together.
pub(crate) struct PythonTools {
    name: &'static str,
    packages: &'static [&'static str],
}

/// Also what it stands on most, and the validator of the document.
pub(crate) const SCHEMATHESIS: PythonTools = PythonTools {
    name: "schemathesis-4.32.5",
    packages: &[
        "schemathesis==4.32.5",
        "hypothesis==6.170.15",
        "openapi-spec-validator==0.9.0",
    ],
};

impl PythonTools {
    /// The Python that knows them, installed now if it is not there.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let folder = cache()?.join(self.name);
        let python = folder.join("bin/python");
        // Renamed when it is whole: what was broken off is made anew.
        if python.exists() {
            return Ok(python);
        }
        eprintln!(
            "{} goes to {}; this happens once",
            self.name,
            folder.display()
        );
        let part = folder.with_extension("part");
        let _rest = std::fs::remove_dir_all(&part);
        let make = || shell("python3").args(["-m", "venv"]).args([&part]).run();
        make().or_else(|_| {
            apt_install(&["python3", "python3-venv"])?;
            make()
        })?;
        shell(part.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(self.packages)
            .run()?;
        std::fs::rename(&part, &folder)
            .map_err(|error| format!("cannot move {}: {error}", part.display()))?;
        Ok(python)
    }
}

/// Installs packages of Debian.
pub(crate) fn apt_install(packages: &[&str]) -> Result {
    shell("apt-get").args(["update", "-q"]).run()?;
    // Waits for another one that installs, too.
    shell("apt-get")
        .args(["install", "-y", "-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()
}

/// Installs a package from crates.io into a folder.
pub(crate) fn cargo_install(
    package: &str,
    version: &str,
    arguments: &[&str],
    build: Build,
    folder: &Path,
) -> Result {
    let target = folder.join("target");
    let quick: &[(&str, &str)] = match build {
        Build::Quick => &[
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
            ("CARGO_PROFILE_RELEASE_LTO", "off"),
            ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
        ],
        Build::Release => &[],
    };
    let mut install = cargo(["install", "--locked", "--force", package])
        .args(["--version", version])
        .args(arguments)
        .args([OsStr::new("--root"), folder.as_os_str()])
        .env("CARGO_TARGET_DIR", &target);
    for (name, value) in quick {
        install = install.env(name, value);
    }
    install.run()?;
    // What it was built from is not needed again; failing to tidy is fine.
    let _tidied = std::fs::remove_dir_all(target);
    Ok(())
}

impl Tool {
    /// Where it stands, installed now if it is not there in this version.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let cache = cache()?;
        let path = cache.join("bin").join(self.package);
        if self.is(&path) {
            return Ok(path);
        }
        eprintln!(
            "{} {} goes to {}; this happens once",
            self.package,
            self.version,
            cache.display()
        );
        cargo_install(self.package, self.version, &[], self.build, &cache)?;
        Ok(path)
    }

    fn is(&self, path: &PathBuf) -> bool {
        shell(path)
            .args(["--version"])
            .ask()
            .is_some_and(|(worked, said)| {
                worked && said.split_whitespace().any(|word| word == self.version)
            })
    }
}

/// `$XDG_CACHE_HOME/holdall/tools`, as a rule `~/.cache/holdall/tools`.
fn cache() -> Result<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("XDG_CACHE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".cache")))
        .map(|cache| cache.join("holdall/tools"))
        .ok_or_else(|| "tools need a folder; set HOME or XDG_CACHE_HOME".into())
}
