//! Where the files of a run lie.

use std::path::{Path, PathBuf};

use holdall_backends::sqlite::{SqliteBackend, SqliteOptions};
use holdall_core::DynBackend;
use tokio::runtime::Runtime;

use crate::Result;
use crate::options::Options;

/// A folder that is removed with all that is in it.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn make(options: &Options) -> Result<Self> {
        let base = match &options.dir {
            Some(dir) => dir.clone(),
            None => target()?,
        };
        let folder = base.join(format!("bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Removes an SQLite file and what lies beside it.
    pub(crate) fn remove(&self, name: &str) {
        for suffix in ["", "-wal", "-shm"] {
            // What is not there need not be removed, and the folder goes anyway.
            let _absent = std::fs::remove_file(self.file(&format!("{name}{suffix}")));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

/// The folder that cargo builds into.
pub(crate) fn target() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2);
    Ok(target.ok_or("this program lies in no folder")?.to_owned())
}

pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

/// Holdall on an SQLite file, as an application opens it.
pub(crate) async fn holdall(path: &Path) -> Result<DynBackend> {
    Ok(SqliteBackend::open(SqliteOptions::new(path)).await?.into())
}
