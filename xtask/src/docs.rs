//! `docs`: the API documentation, and pages whose links lead somewhere.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::shell::{Result, cargo, root};

pub(crate) fn run(_: &[String]) -> Result {
    let built = cargo(["doc", "--workspace", "--all-features", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run();
    let broken = broken_links(&root())?;
    if broken.is_empty() {
        return built;
    }
    for link in &broken {
        eprintln!("a link leads nowhere: {link}");
    }
    built.and(Err("links between pages are broken".into()))
}

/// Links between the pages of the repository that name no file, or no heading
/// of it. Links to the web are left alone: a check must not need the network.
fn broken_links(root: &Path) -> Result<Vec<String>> {
    let mut pages = Vec::new();
    find_pages(root, &mut pages)?;
    pages.sort();
    let mut broken = Vec::new();
    for page in &pages {
        let text = read(page)?;
        let folder = page.parent().unwrap_or(root);
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                folder.join(file)
            };
            let leads = target.exists()
                && (heading.is_empty() || headings(&read(&target)?).contains(heading));
            if !leads {
                let page = page.strip_prefix(root).unwrap_or(page);
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    Ok(broken)
}

fn find_pages(folder: &Path, pages: &mut Vec<PathBuf>) -> Result {
    let cannot = |error| format!("cannot read {}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !name.starts_with('.')
                && !matches!(name.as_str(), "target" | "node_modules" | "corpus")
            {
                find_pages(&path, pages)?;
            }
        } else if name.ends_with(".md") {
            pages.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The lines of a page that are not code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Code in a line may look like a link.
        let line: String = line.split('`').step_by(2).collect();
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, tail)) = after.split_once(')') else {
                break;
            };
            let target = target.split_whitespace().next().unwrap_or_default();
            found.push(target.to_owned());
            rest = tail;
        }
    }
    found
}

/// The anchors of a page, as forges make them from headings.
fn headings(text: &str) -> HashSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_prose_and_not_in_code() {
        let page = "# One `two`, three!\n[a](b.md#c) and ![d](e.svg \"f\")\n```\n[no](x)\n```\n`[no](y)` [g](#one-two-three)";
        assert_eq!(links(page), ["b.md#c", "e.svg", "#one-two-three"]);
        assert!(headings(page).contains("one-two-three"));
    }
}
