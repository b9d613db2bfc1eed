//! `services`: the real servers that backends are tested on.

use holdall_testing::services::{self, Origin, Server};

use crate::shell::Result;
use crate::tools;

/// `up`, `down`, `restart` or `status`, of all servers or of some.
pub(crate) fn run(arguments: &[String]) -> Result {
    let Some((what, names)) = arguments.split_first() else {
        return Err(usage());
    };
    let chosen = chosen(names)?;
    match what.as_str() {
        "up" => {
            let failed = up(&chosen, Missing::Install);
            status(&chosen)?;
            said(failed)
        }
        "down" => {
            // Those that stand on others end first.
            let mut failed = Vec::new();
            for server in chosen.iter().rev() {
                failed.extend(server.down().err());
            }
            if names.is_empty() {
                failed.extend(services::clean().err());
            }
            said(failed)
        }
        "restart" => {
            let mut failed = Vec::new();
            for server in &chosen {
                failed.extend(server.kill().and_then(|()| server.up()).err());
            }
            said(failed)
        }
        "status" => status(&chosen),
        _ => Err(usage()),
    }
}

fn usage() -> String {
    let names: Vec<_> = services::names().collect();
    format!(
        "say `cargo xtask services up`, `down`, `restart` (kills, and starts on the same data) or \
         `status`, and which if not all: {}",
        names.join(", ")
    )
}

/// All, or those named and what they stand on.
fn chosen(names: &[String]) -> Result<Vec<Server>> {
    let all: Vec<_> = services::names()
        .map(Server::shared)
        .collect::<Result<_>>()?;
    if names.is_empty() {
        return Ok(all);
    }
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        // Refuses what is none.
        let server = Server::shared(name)?;
        wanted.push(name);
        wanted.extend(server.stands_on());
    }
    let mut all = all;
    all.retain(|server| wanted.contains(&server.name()));
    Ok(all)
}

/// What happens to servers that are not installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Install,
    Leave,
}

/// Starts those that do not serve. Answers why some could not be started.
fn up(chosen: &[Server], missing: Missing) -> Vec<String> {
    let mut failed = Vec::new();
    let is_missing = |server: &&Server| !server.is_installed();
    if missing == Missing::Install {
        // Debian's all at once.
        let mut packages: Vec<_> = chosen
            .iter()
            .filter(is_missing)
            .flat_map(|server| match server.origin() {
                Origin::Debian(packages) => packages,
                Origin::Crate { builds_with, .. } => builds_with,
            })
            .copied()
            .collect();
        packages.sort_unstable();
        packages.dedup();
        if !packages.is_empty() {
            failed.extend(tools::apt_install(&packages).err());
        }
    }
    for server in chosen {
        if missing == Missing::Leave && !server.is_installed() {
            continue;
        }
        if let Err(why) = install(server).and_then(|()| server.up()) {
            failed.push(format!("{}: {why}", server.name()));
        }
    }
    failed
}

fn install(server: &Server) -> Result {
    if server.is_installed() {
        return Ok(());
    }
    if let Origin::Crate {
        package,
        version,
        arguments,
        ..
    } = server.origin()
    {
        let folder = services::bin_folder(package, version)?;
        eprintln!(
            "{package} {version} goes to {}; this happens once, and takes minutes",
            folder.display()
        );
        tools::cargo_install(package, version, arguments, tools::Build::Quick, &folder)?;
    }
    Ok(())
}

/// For the tests: starts all; only those that are installed if but some tests
/// are run. What could not be started is said here, and by each test that needs
/// it.
pub(crate) fn up_for_tests(missing: Missing) {
    let failed = match chosen(&[]) {
        Ok(all) => up(&all, missing),
        Err(why) => vec![why],
    };
    for why in failed {
        eprintln!("a server could not be started: {why}");
    }
}

/// What serves, one URL a line; what does not, on stderr.
fn status(chosen: &[Server]) -> Result {
    let mut urls = services::urls()?;
    for server in chosen {
        let (name, product) = (server.name(), server.product());
        if !server.is_running() {
            let own = server.urls();
            urls.retain(|(name, url)| !own.contains(&(name, url.clone())));
            if !urls.iter().any(|(is, _)| is == name) {
                eprintln!(
                    "{name} ({product}) does not run; `cargo xtask services up {name}` starts it"
                );
            }
        } else if let Err(why) = server.health() {
            eprintln!("{name} ({product}) runs and does not serve: {why}");
        }
    }
    for (name, url) in urls {
        println!("{name}={url}");
    }
    Ok(())
}

fn said(failed: Vec<String>) -> Result {
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("\nerror: "))
    }
}
