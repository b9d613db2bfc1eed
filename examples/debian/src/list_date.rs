//! Of which day the list is.

use std::path::Path;

/// The newest date of Debian's signed lists in apt's folder, like
/// `2026-11-20`; `None` where there are none.
pub fn list_date(folder: &Path) -> Option<String> {
    let files = std::fs::read_dir(folder).ok()?;
    let dates = files.filter_map(|file| {
        let path = file.ok()?.path();
        path.to_str()?.ends_with("_InRelease").then_some(())?;
        let text = std::fs::read_to_string(path).ok()?;
        text.lines()
            .any(|line| line == "Origin: Debian")
            .then_some(())?;
        day(text.lines().find_map(|line| line.strip_prefix("Date:"))?)
    });
    dates.max()
}

/// The day of `Fri, 20 Nov 2026 00:12:41 UTC`.
fn day(date: &str) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = date.split_whitespace().skip(1);
    let day: u8 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let year: u16 = words.next()?.parse().ok()?;
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_date_of_debian_counts() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "a_InRelease",
                "Origin: Debian\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n",
            ),
            (
                "b_InRelease",
                "Origin: Debian\nDate: Fri, 20 Nov 2026 00:12:41 UTC\n",
            ),
            (
                "c_InRelease",
                "Origin: Other\nDate: Fri, 27 Nov 2026 00:12:41 UTC\n",
            ),
            (
                "d_Packages",
                "Origin: Debian\nDate: Fri, 27 Nov 2026 00:12:41 UTC\n",
            ),
            ("e_InRelease", "Origin: Debian\nDate: soon\n"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(list_date(folder.path()).as_deref(), Some("2026-11-20"));
        assert_eq!(list_date(&folder.path().join("none")), None);
    }
}
