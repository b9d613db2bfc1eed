//! What only some systems have. Servers are started on Linux alone; elsewhere this
//! still compiles, says so, and tests find servers of the user's own.

use std::io::Result;
use std::path::Path;
use std::process::Command;

/// The number of the user that a file or a folder belongs to.
pub(super) fn owner(path: &Path) -> Result<u32> {
    let found = std::fs::symlink_metadata(path)?;
    #[cfg(unix)]
    let owner = std::os::unix::fs::MetadataExt::uid(&found);
    #[cfg(not(unix))]
    let (owner, _) = (0, found);
    Ok(owner)
}

/// Who may read, write and enter it.
pub(super) fn permit(path: &Path, mode: u32) -> Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    #[cfg(not(unix))]
    let _ = (path, mode);
    Ok(())
}

/// Keeps Ctrl-C from a program: that is for who started it.
pub(super) fn keep_from_signals(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}
